"""Every published format that is known, in the order in which a file is compared with them."""

from vmmjax.convert import audio, i3d, torchvision, transformers, tsm, videomae
from vmmjax.convert.format import Format

FORMATS: tuple[Format, ...] = (
    *i3d.FORMATS,
    *torchvision.FORMATS,
    *tsm.FORMATS,
    *audio.FORMATS,
    videomae.FORMAT,
    *transformers.FORMATS,
)
