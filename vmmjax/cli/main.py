"""`vmmjax COMMAND [--flag=value ...]`: finds the command, reads its flags, runs it."""

import errno
import gc
import importlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from absl import flags

from vmmjax import xla_flags
from vmmjax.errors import UserError, did_you_mean

COMMANDS = {
    'predict': 'what is seen in video files, by a published network or your own',
    'prepare': 'video files to a store of columns that training reads',
    'convert': 'a published checkpoint to vmmjax, and back',
    'train': 'a store and a config to a trained model',
    'evaluate': 'a trained model to tables and a report',
    'ablate': 'a question to a table: every row trained, measured and compared',
    'plan': 'a config to what it needs on a pod: memory, time, what must be read',
    'export': 'a trained model to one file that predicts anywhere',
    'check': 'whether an exported file is as it was written, and says what it said',
    'watch': 'live streams to alarms, by a run of your own',
    'serve': 'a page in the browser: files, and live streams, judged by a run of your own',
    'extract': 'features of videos or of a store, by any endpoint of a network',
    'index': 'clips to an index of embeddings, in which they can be found',
    'summarize': 'a long video to its most important parts, by a run of your own',
    'search': 'a sentence, a clip or a sound to the clips of an index that are like it',
    'probe': 'what features tell, and what the columns of a store give away',
    'audit': 'what tells a target without a model: controls for any score',
    'blend': 'how much the loss of each stream is to weigh',
    'explain': 'what a prediction rests on: which streams, and where and when in them',
    'generate': 'video that a run makes: of a file, or of nothing but a class',
    'fvd': 'how far generated videos are from real ones, by a published protocol',
    'inspect': 'what is in a store, or in the folder of a run',
}

_RESUMABLE = ('prepare', 'train', 'extract', 'ablate')
_FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


def run(argv: Sequence[str] | None = None) -> None:
    """The console script; exits with 0, or with 2 after one sentence about what the user can mend."""
    # TensorFlow only reads data here; its notes about CPU features help nobody.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    # Without this it imports Keras, and with that scikit-learn: a second in which nothing is read.
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
    xla_flags.add(xla_flags.COMPILE_FASTER)
    # The console script has its own folder on the path; a user's modules are in the current one. It comes last, so that
    # it hides no package, and processes that commands start inherit it.
    sys.path.append('')
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        gc.freeze()  # The process ends: collecting what packages hold would take a second.
        sys.exit(status)
    except UserError as error:
        sys.exit(_say(str(error)))
    except BrokenPipeError:
        # Who read the output has seen enough, as `head` has. What is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _FULL_OR_FORBIDDEN:
            raise
        sys.exit(_say(f'{error.filename or "A file of the run"} cannot be written: {error.strerror}; make room, or '
                      f'name a folder that can be written.'))
    except KeyboardInterrupt:
        resumes = ' The same command goes on from here.' if arguments[0] in _RESUMABLE else ''
        print(f'\nStopped.{resumes}', file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(_overview())
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        raise UserError(f'There is no command {command!r}: {did_you_mean(command, COMMANDS)}.')
    module = importlib.import_module(f'vmmjax.cli.{command}')
    if any(argument in ('-h', '--help') for argument in rest):
        print(module.__doc__)
        print(_flag_help(module.__name__))
        return 0
    positional = _parse(command, rest)
    # A command that takes arguments beside its flags names them, such as `POSITIONAL = 'VIDEO ...'`; in brackets
    # where it can do without.
    taken = getattr(module, 'POSITIONAL', '')
    if positional and not taken:
        raise UserError(f'`vmmjax {command}` takes flags only, not {positional[0]!r}; '
                        f'see `vmmjax {command} --help`.')
    if taken and not positional and not taken.startswith('['):
        raise UserError(f'`vmmjax {command}` needs {taken}; see `vmmjax {command} --help`.')
    _quiet()
    module.main(*([positional] if taken else []))
    return 0


def _quiet() -> None:
    """Leaves out of the terminal what libraries say to programmers."""
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    # Orbax logs through absl what it then raises, with tracebacks, and warns of metadata that ours does not need.
    logging.getLogger('absl').setLevel(logging.CRITICAL)
    # Scikit-learn warns of classes with few clips and of fits that end at their last iteration.
    warnings.filterwarnings('ignore', module=r'sklearn\.')


def _parse(command: str, rest: list[str]) -> list[str]:
    _check_config_is_there(rest)
    try:
        return flags.FLAGS([f'vmmjax {command}', *rest])[1:]
    except flags.Error as error:
        text = ' '.join(str(error).replace('FATAL Flags parsing error:', '').split())
        raise UserError(f'{text.rstrip(".")}. See `vmmjax {command} --help`.') from error
    except (AttributeError, KeyError) as error:
        # A config is locked; ml_collections names the nearest key on a line of its own.
        text = str(error.args[0]).strip('\'"').replace('\\n', '\n').replace("\\'", "'")
        key, _, hint = text.partition('\n')
        raise UserError(f'The config has no key {key}. {hint}') from error


def _check_config_is_there(arguments: Sequence[str]) -> None:
    # A missing file is noticed by ml_collections only when its values are read, in a message of many lines.
    for argument in arguments:
        if argument.startswith('--config='):
            path = argument.removeprefix('--config=').partition(':')[0]
            if not os.path.isfile(path):
                raise UserError(f'The config file {path} is not there; those that are shipped stand in '
                                f'experiments/configs/.')


def _overview() -> str:
    lines = [f'  {name:10}{what}' for name, what in COMMANDS.items()]
    return '\n'.join(['vmmjax: multimodal video in JAX.', '', 'Commands:', *lines, '',
                      'vmmjax COMMAND --help tells more.'])


def _flag_help(module: str) -> str:
    lines = ['Flags:']
    # Some commands share those of these modules.
    shared = ('vmmjax.cli.processes', 'vmmjax.cli.live')
    known = [flag for name in (module, *shared) for flag in flags.FLAGS.get_flags_for_module(name)]
    for flag in sorted(known, key=lambda flag: flag.name):
        default = str(flag.default_as_str).strip("'") if flag.default not in (None, '', []) else ''
        lines.append(f'  --{flag.name}: {flag.help}' + (f' (default: {default})' if default else ''))
    return '\n'.join(lines)


def _say(sentence: str) -> int:
    print(f'vmmjax: {sentence}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    run()
