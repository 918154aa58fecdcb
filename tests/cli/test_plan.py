import pytest

from tests.cli.conftest import TOY, refused, vmmjax


@pytest.mark.slow
def test_a_plan_is_made_without_a_store_and_keeps_no_programs(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
    page = tmp_path / 'page.md'
    page.write_text('<!-- tables -->\n<!-- end of tables -->\n')
    found = vmmjax('plan', TOY, '--topology=cpu:2,cpu:4', '--clips=3', '--classes=8', f'--page={page}',
                   '--config.data.store=nowhere')
    assert found.returncode == 0, found.stderr
    assert '| cpu:2 | 2 | 3 | – |' in found.stdout
    assert '| cpu:4 | 4 | 3 | – |' in found.stdout
    assert '| cpu:4 | 4 | 3 | – |' in page.read_text()
    assert not list((tmp_path / 'cache').glob('vmmjax/xla/jit_train_step*'))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--topology=v5e'], "'v5e' is no topology"),
    (['--topology=cpu:3'], 'does not share out over the 3 chips of cpu:3'),
])
def test_what_cannot_be_planned_is_said(arguments, message):
    assert message in refused('plan', TOY, '--config.data.store=nowhere', *arguments)
