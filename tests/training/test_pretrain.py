"""The command line of pretraining: settings, exit codes, clear errors."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from deo.errors import ConfigError
from deo.training import pretrain as module
from deo.training.config import Config
from deo.training.pretrain import command, compose
from deo.training.run import pretraining
from deo.training.run.stopping import Stopped


def test_compose__recipe_then_file_then_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[run]\nbatch_size = 6\nseed = 4\n[loss]\neps = 0.1\n")
    config = compose("micro", file, ["run.seed=5", "steps=70", "loss.coeff=2.0"], Path("there"))
    assert config.model.name == "test_deo_swin"
    assert (config.run.batch_size, config.run.seed, config.run.steps) == (6, 5, 70)
    assert (config.loss.eps, config.loss.coeff) == (0.1, 2.0)
    assert config.data.source == "there"


@pytest.mark.parametrize("name", ["steps", "checkpoint_every", "seed", "lr", "warmup_epochs"])
def test_compose__a_setting_may_leave_out_its_section(name: str) -> None:
    assert module.qualified(f"{name}=3") in (f"run.{name}=3", f"optim.{name}=3")


def test_compose__ambiguous_or_unknown_settings_are_refused() -> None:
    for setting in ("eps=0.5", "stepz=4", "run.stepz=4"):  # loss.eps and optim.eps
        with pytest.raises(ConfigError, match="unknown setting"):
            compose("micro", None, [setting], Path("there"))
    assert compose("micro", None, ["switches=original"], Path("x")).switches.local_gram
    with pytest.raises(ConfigError, match="no data"):
        compose("micro", None, [], None)
    with pytest.raises(ConfigError, match=r"give --recipe NAME \(swin_t, .*or --config FILE"):
        compose(None, None, ["steps=3"], Path("x"))


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_command__a_signal_decides_the_exit_status(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    def stop(config: Config, *, output: Path) -> None:
        raise Stopped(3, name)

    monkeypatch.setattr(pretraining, "pretrain", stop)
    arguments = ["--recipe", "micro", "--data", str(tiny_shards), "-o", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == status
    assert f"{name}: saved after step 3; the same command goes on" in result.output
    assert 'name = "test_deo_swin"' in result.output


def test_command__needs_an_output_folder(tiny_shards: Path) -> None:
    result = CliRunner().invoke(command, ["--recipe", "micro", "--data", str(tiny_shards)])
    assert isinstance(result.exception, ConfigError)
    assert "give --output" in str(result.exception)
