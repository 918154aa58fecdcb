"""What a user hands in, as a list of clips: a manifest, folders, a published data set, or one made on the spot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vmmjax.errors import UserError, did_you_mean
from vmmjax.prepare.sources import (
    audioset_esc50,
    dmvr,
    folders,
    grid,
    joined_scenes,
    kinetics,
    known_information,
    manifest,
    record_files,
    something,
    synthetic,
    tfds,
    told_scenes,
    ucf_hmdb,
)
from vmmjax.prepare.sources.clip import Clip
from vmmjax.prepare.sources.media_index import Files, annotation_files

__all__ = ['ANNOTATIONS', 'GENERATED', 'SYNTHETIC', 'Clip', 'read']

# `synthetic:<name>` -> what writes it.
SYNTHETIC: dict[str, Callable[..., Path]] = {
    'motion_sound': synthetic.generate, 'known_information': known_information.generate,
    'told_scenes': told_scenes.generate, 'joined_scenes': joined_scenes.generate}
# `<name>:<annotation files>` -> what reads them; the media files lie in a folder of their own.
ANNOTATIONS: dict[str, Callable[[Sequence[Path], Files], list[Clip]]] = {
    'kinetics': kinetics.read, 'something': something.read, 'ucf101': ucf_hmdb.read_ucf101,
    'hmdb51': ucf_hmdb.read_hmdb51, 'audioset': audioset_esc50.read_audioset, 'esc50': audioset_esc50.read_esc50,
    'grid': grid.read}
# Sources that write files of their own before they are read.
GENERATED = ('synthetic', 'tfds', 'dmvr')


def read(source: str, *, media: Path | None = None, generated: Path | None = None, fps: float | None = None,
         audio_rate: int | None = None, split: str = '', seed: int = 0,
         sizes: Mapping[str, int] = synthetic.SIZES, workers: int = 1, progress: bool = True) -> list[Clip]:
    """Reads a source. Files are written only for what holds none: synthetic clips, records, folders of pictures.

    Args:
      source: a manifest (see `manifest.read`), a folder with one folder a class (see `folders.read`),
        `synthetic:motion_sound`, `synthetic:told_scenes`, `synthetic:joined_scenes`,
        `synthetic:known_information:<settings>` (see `known_information.settings`),
        `tfds:<name or folder>` (see `tfds.shards`), `dmvr:<files>` (see `dmvr.shards`) or `<name>:<files>` for the
        annotation files of a published data set, a name of `ANNOTATIONS`. Several files have commas between them, or
        are a pattern such as `splits/*_test_split1.txt`.
      media: the folder below which the files lie that annotations name; theirs unless given.
      generated: the folder that files are written into.
      fps: pictures a second of records and folders of pictures, which do not say so.
      audio_rate: samples a second of the sound in records, which do not say so.
      split: of the clips of a manifest without that column.
      seed: of a synthetic data set.
      sizes: its clips a split.
      workers: processes that write files.
      progress: whether they show a progress bar.

    Returns:
      The clips in the source's order, at least one.

    Raises:
      UserError: for a source that is not there, whose layout is another, or without clips; the readers say more.
    """
    kind, _, rest = source.partition(':')
    if kind in GENERATED:
        name, _, options = rest.partition(':')
        if kind == 'synthetic' and name not in SYNTHETIC:
            raise UserError(f'There is no synthetic data set {name!r}: {did_you_mean(name, SYNTHETIC)}.')
        if generated is None:
            raise UserError(f'{source} needs a folder to be written into.')
        if kind == 'synthetic':
            return manifest.read(SYNTHETIC[name](generated, seed=seed, sizes=sizes, options=options, workers=workers,
                                                 progress=progress))
        shards, settings = (tfds.shards(rest, fps) if kind == 'tfds' else
                            dmvr.shards(annotation_files(rest), fps, audio_rate))
        return manifest.read(record_files.generate(generated, shards, settings, workers=workers, progress=progress))
    if kind in ANNOTATIONS:
        return _annotated(source, media, generated, fps, workers, progress)
    path = Path(source)
    if path.is_dir():
        return folders.read(path)
    if path.is_file():
        return manifest.read(path, split=split)
    known = [*(f'synthetic:{name}' for name in SYNTHETIC), 'tfds:NAME', 'dmvr:FILES',
             *(f'{name}:FILES' for name in ANNOTATIONS)]
    raise UserError(f'The source {source!r} is neither a manifest (CSV) nor a folder that is there; '
                    f'{did_you_mean(source, known)}.')


def _annotated(source: str, media: Path | None, generated: Path | None, fps: float | None, workers: int,
               progress: bool) -> list[Clip]:
    kind, _, rest = source.partition(':')
    paths = annotation_files(rest)
    if media is None:
        beside = paths[0] if paths[0].is_dir() else paths[0].parent
        media = beside.absolute().parent if kind == 'esc50' else beside  # meta/esc50.csv and audio/.
    files = Files(media)
    clips = ANNOTATIONS[kind](paths, files)
    if not clips:
        raise UserError(f'{source} names no clip.')
    if not any(clip.path.exists() for clip in clips):
        raise UserError(f'None of the {len(clips)} clips of {source} is below {media}, such as {clips[0].name}: name '
                        f'the folder of the videos or sounds as --media.')
    if any(clip.path in files.folders for clip in clips):
        rate = fps or (something.V1_FPS if kind == 'something' else None)
        if generated is None or rate is None:
            raise UserError(f'{source} lies in folders of pictures below {media}, which do not say how many '
                            f'there are a second: give that as --source_fps; video files are made of them.')
        return record_files.folders_to_files(clips, files.folders, generated, rate, workers=workers, progress=progress)
    return clips
