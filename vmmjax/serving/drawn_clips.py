"""Clips that a run draws, or the real ones that they are compared with."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError, did_you_mean
from vmmjax.experiment import Experiment
from vmmjax.media.writer import even, write_clip
from vmmjax.tasks.adversarial import Adversarial

GROUP = 25  # Pictures of a written video of which all but the first are coded by what they differ in.
_LONGEST = 16384  # Pixels of a side of a picture of H.264, as FFmpeg writes it.


def draw(run: Experiment, count: int, *, classes: Sequence[str] = (), seed: int = 0, batch_size: int = 16
         ) -> tuple[np.ndarray, list[str]]:
    """Draws clips with a run of the task `adversarial`; each depends on the seed and its place alone.

    Args:
      run: with parameters; moving averages are taken where it keeps them.
      count: of clips.
      classes: of which one clip after another is; all classes of the run unless given.
      seed: of what they are drawn from.
      batch_size: clips at a time.

    Returns:
      uint8 (count, T, H, W, C), and the class of each, empty of a run without classes.

    Raises:
      UserError: for a run of another task, and a class that it does not know.
    """
    task = _task(run)
    for name in classes:
        if name not in task.names:
            raise UserError(f'The run draws no clips of {name!r}: {did_you_mean(name, task.names)}.')
    chosen = list(classes) or task.names or ['']
    names = [chosen[place % len(chosen)] for place in range(count)]
    codes = np.array([task.names.index(name) if name else -1 for name in names], np.int32)
    shape = tuple(run.run_inputs['spec'][task.stream][0])

    @jax.jit
    def drawn(params: object, places: jax.Array, codes: jax.Array) -> jax.Array:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), places)
        clips = task.drawn(params, task.numbers(keys), codes, shape)
        return jnp.clip(jnp.round((clips + 1) * 127.5), 0, 255).astype(jnp.uint8)

    params, parts = run.variables['params'], []
    for first in range(0, count, batch_size):
        places = np.arange(first, first + batch_size)  # The last batch is full, too: it is compiled once.
        parts.append(np.asarray(drawn(params, places, codes[np.minimum(places, count - 1)])))
    return np.concatenate(parts)[:count], names


def real(run: Experiment, split: str, count: int) -> tuple[np.ndarray, list[str]]:
    """The first clips of a split of the run's store as its evaluation sees them; those that fill their window.

    Args:
      run: of the task `adversarial`.
      split: of the store.
      count: at most.

    Returns:
      As `draw`.

    Raises:
      UserError: for a run of another task, and a split without such clips.
    """
    task = _task(run)
    clips: list[np.ndarray] = []
    names: list[str] = []
    for batch in run.pipeline(split, train=False).batches():
        whole = batch[f'valid/{task.stream}'].all(1) & (batch['mask'] > 0)
        clips += list(batch[task.stream][whole])
        codes = batch[f'target/{task.target}'][whole].tolist() if task.names else [-1] * int(whole.sum())
        names += [task.names[code] if code >= 0 else '' for code in codes]
        if len(clips) >= count:
            break
    if not clips:
        raise UserError(f'No clip of the split {split} fills its window; take a shorter data.window.')
    return np.stack(clips[:count]), names[:count]


def columns(count: int, height: int, width: int, wanted: int) -> int:
    """How many columns a `grid` of clips has: as many as wanted, or a multiple where H.264 takes no picture so tall.

    Raises:
      UserError: for more clips than one picture holds.
    """
    wanted = min(wanted, count)
    least = -(-count // max(1, _LONGEST // height))
    found = wanted * -(-least // wanted)
    if max(found * width, height) > _LONGEST:
        found = least
    if max(found * width, height) > _LONGEST:
        raise UserError(f'{count} clips of {height} x {width} do not fit in one video, whose sides have at most '
                        f'{_LONGEST} pixels; draw fewer, or write .npy or a folder.')
    return found


def grid(clips: np.ndarray, columns: int) -> np.ndarray:
    """Clips beside each other: uint8 (N, T, H, W, 3) -> (T, H', W', 3), row by row, black behind the last one."""
    rows = -(-len(clips) // columns)
    clips = np.concatenate([clips, np.zeros((rows * columns - len(clips), *clips.shape[1:]), np.uint8)])
    _, time, height, width, channels = clips.shape
    found = clips.reshape(rows, columns, time, height, width, channels).transpose(2, 0, 3, 1, 4, 5)
    return found.reshape(time, rows * height, columns * width, channels)


def rate(run: Experiment) -> float:
    """Pictures a second of the run's clips; 25 where they are whole clips, of any length."""
    frames, seconds = run.run_inputs['spec'][_task(run).stream][0][0], run.config.data.window.seconds
    return float(frames / seconds) if seconds else 25.0


def write(output: Path, clips: np.ndarray, names: Sequence[str], *, fps: float, side: int, quantiser: int) -> None:
    """Writes clips, all of them or nothing.

    Args:
      output: an array (.npy), a video (.mp4), or else a folder that is not there; the folder that it is in is.
      clips: uint8 (N, T, H, W, 3).
      names: of their classes.
      fps: pictures a second.
      side: columns of clips in one video; more where it would be too tall.
      quantiser: of H.264.

    Raises:
      UserError: where it cannot be written.
    """
    if output.suffix == '.mp4':
        count, _, height, width, _ = clips.shape
        pictures = grid(clips, columns(count, height, width, side))
        write_clip(output, map(even, pictures), fps=fps, quantiser=quantiser, group=GROUP)
        return
    try:
        with atomic.replacing(output) as partial:
            if output.suffix == '.npy':
                with partial.open('wb') as file:
                    np.save(file, clips)
                return
            partial.mkdir()
            for place, (clip, name) in enumerate(zip(clips, names, strict=True)):
                stem = ''.join(letter if letter.isalnum() else '_' for letter in name)
                write_clip(partial / f'{place:05}_{stem}.mp4'.replace('_.', '.'), map(even, clip), fps=fps,
                           quantiser=quantiser, group=GROUP)
    except OSError as error:
        raise UserError(f'{output} cannot be written: {error.strerror}.') from error


def _task(run: Experiment) -> Adversarial:
    if not isinstance(run.task, Adversarial):
        raise UserError(f"The run is of the task {run.task.name}, which draws no clips; take one of 'adversarial', or "
                        f"name a VIDEO for one of 'video_to_video'.")
    return run.task
