"""Several streams become one: `fusion(tokens, present, train) -> Fused`. Its streams are fixed when it is built."""

from typing import Any

from vmmjax.models.fusion.attention import CrossAttention, NonLocalGate
from vmmjax.models.fusion.base import Fusion
from vmmjax.models.fusion.concat_sum import Concat, Sum, TanhConcat, WeightedAverage
from vmmjax.models.fusion.gates import FiLM, Gated
from vmmjax.models.fusion.hierarchical import Hierarchical
from vmmjax.models.fusion.over_time import OverTime
from vmmjax.models.fusion.scores import Scores
from vmmjax.models.fusion.tensors import LowRankTensorFusion, Multiplicative, TensorFusion
from vmmjax.models.fusion.transformers import Bottleneck, Transformer

FUSIONS: dict[str, Any] = {
    'bottleneck': Bottleneck,
    'concat': Concat,
    'cross_attention': CrossAttention,
    'film': FiLM,
    'gated': Gated,
    'hierarchical': Hierarchical,
    'low_rank_tensor': LowRankTensorFusion,
    'multiplicative': Multiplicative,
    'non_local': NonLocalGate,
    'over_time': OverTime,
    'scores': Scores,
    'sum': Sum,
    'tanh_concat': TanhConcat,
    'tensor': TensorFusion,
    'transformer': Transformer,
    'weighted_average': WeightedAverage,
}

__all__ = ['FUSIONS', 'Bottleneck', 'Concat', 'CrossAttention', 'FiLM', 'Fusion', 'Gated', 'Hierarchical',
           'LowRankTensorFusion', 'Multiplicative', 'NonLocalGate', 'OverTime', 'Scores', 'Sum', 'TanhConcat',
           'TensorFusion', 'Transformer', 'WeightedAverage']
