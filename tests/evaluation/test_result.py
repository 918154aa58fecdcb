from vmmjax.evaluation import result
from vmmjax.evaluation.result import Result


def of(split):
    return Result(split, 10, 4, {'loss': 1.0}, {}, {}, [], store='stores/mine')


def test_every_evaluation_is_counted_and_none_is_lost(tmp_path):
    assert result.evaluations(tmp_path, 'test') == 0
    result.write(tmp_path, of('test'))
    assert result.evaluations(tmp_path, 'test') == 1  # Of an older version, which did not count.
    assert [result.count_evaluation(tmp_path, of('test')) for _ in range(2)] == [1, 2]
    assert result.count_evaluation(tmp_path, of('validation')) == 1
    with (tmp_path / 'eval' / 'evaluations.jsonl').open('a') as file:
        file.write('{"date": "2026-')  # Killed.
    assert result.count_evaluation(tmp_path, of('test')) == 3
