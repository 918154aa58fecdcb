"""Pure Flax modules: encoders, fusion, heads, and the model that composes them."""

from vmmjax.models.multimodal import MultimodalModel
from vmmjax.models.tokens import Fused, Outputs, Tokens
from vmmjax.models.zoo import create, create_model, list_models

__all__ = ['Fused', 'MultimodalModel', 'Outputs', 'Tokens', 'create', 'create_model', 'list_models']
