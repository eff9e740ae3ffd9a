"""The command line of pretraining: settings, dry run, exit codes, clear errors."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from deo.errors import ConfigError, DataError, DeoError, OutputError
from deo.training import pretrain as module
from deo.training import settings
from deo.training.config import Config
from deo.training.pretrain import compose, dry_run, prepare_run, pretrain, run
from deo.training.run import distributed
from deo.training.run.distributed import Context
from deo.training.run.saving import Stopped, StopRequest


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


def test_dry_run__says_time_and_memory_and_writes_nothing(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = dry_run(tiny_config)
    assert "24 samples, 6 steps per epoch, 8 steps in all, 1 process(es) on cpu" in report
    assert "GiB (resident" in report
    assert report.count(" s,") + report.count(" s (") == 2
    assert list(tmp_path.iterdir()) == []


def test_prepare_run__steps_override_epochs(tiny_config: Config) -> None:
    epochs = settings.override(tiny_config, ["run.steps=none", "run.epochs=3"])
    assert prepare_run(epochs, None, Context()).state.steps == 18
    assert prepare_run(tiny_config, None, Context()).state.steps == 8


@pytest.mark.parametrize(
    ("assignments", "error", "message"),
    [
        (["data.source=/none"], DataError, "does not exist"),
        (["run.batch_size=25"], DataError, "24 samples do not fill one step of 25"),
        (["data.split=30"], DataError, "asks for 30 samples"),
        (["run.device=cuda:77"], ConfigError, "cuda"),
    ],
)
def test_run__what_cannot_work_is_said_before_anything_is_written(
    tiny_config: Config, tmp_path: Path, assignments: list[str], error: type[DeoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(settings.override(tiny_config, assignments), tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "config.toml").exists()


def test_run__an_unwritable_output_is_said(tiny_config: Config, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot write to the folder"):
        run(tiny_config, tmp_path / "out", progress=False)


def test_run__the_main_process_alone_makes_the_folder(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(device: str) -> AbstractContextManager[Context]:
        return nullcontext(Context(rank=1))

    monkeypatch.setattr(distributed, "connect", connect)
    monkeypatch.setattr(module, "prepare_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tiny_config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_command__a_signal_decides_the_exit_status(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    def stop(config: Config, output: Path) -> None:
        raise Stopped(3, name)

    monkeypatch.setattr(module, "run", stop)
    arguments = ["--recipe", "micro", "--data", str(tiny_shards), "-o", str(tmp_path)]
    result = CliRunner().invoke(pretrain, arguments)
    assert result.exit_code == status
    assert f"{name}: saved after step 3; the same command goes on" in result.output
    assert 'name = "test_deo_swin"' in result.output


def test_command__needs_an_output_folder(tiny_shards: Path) -> None:
    result = CliRunner().invoke(pretrain, ["--recipe", "micro", "--data", str(tiny_shards)])
    assert isinstance(result.exception, ConfigError)
    assert "give --output" in str(result.exception)


def test_stop_request__a_second_signal_does_not_wait() -> None:
    import os
    import signal

    before = signal.getsignal(signal.SIGTERM)
    request = StopRequest(Context())
    with request.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.agreed() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
