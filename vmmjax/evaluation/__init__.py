"""How good a trained model is: exact predictions, metrics, every subset of its streams, and a report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmmjax.evaluation.fvd.compare import frechet_video_distance

__all__ = ['frechet_video_distance']


def __getattr__(name: str) -> Any:
    # Found when first asked for: other parts of the package need no network.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from vmmjax.evaluation.fvd.compare import frechet_video_distance
    return frechet_video_distance
