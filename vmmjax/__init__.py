"""Multimodal video understanding in JAX: pictures, motion, sound and words in one model."""

from typing import TYPE_CHECKING, Any

from vmmjax import renamed

if TYPE_CHECKING:
    from vmmjax.convert import load_pretrained
    from vmmjax.models import create_model, list_models

renamed.install()

__all__ = ['create_model', 'list_models', 'load_pretrained']


def __getattr__(name: str) -> Any:
    # Found when first asked for: `import vmmjax` alone must not cost the import of JAX.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name == 'load_pretrained':
        from vmmjax.convert import load_pretrained
        return load_pretrained
    from vmmjax import models
    return getattr(models, name)
