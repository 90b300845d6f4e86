"""A warm process that forks children on request: each is a fresh training, without the seconds of imports.

    python -m tests.proofs.cradle RECIPE PREPARED WORK

One JSON object a line on standard input ({"job": name, ...} or {"wait": process}), one in answer. It never
runs a backward pass and has one thread, so that forking is safe. Children write what they do, with the
time, into a file that outlives them; they end as the command line would, with its exit codes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from whet import store  # noqa: E402
from whet.errors import WhetError  # noqa: E402
from whet.plan.run import run as plan_room  # noqa: E402
from whet.prepare.run import run as prepare_room  # noqa: E402
from whet.progress import Reporter  # noqa: E402
from whet.recipe.load import load_recipe  # noqa: E402
from whet.train import state  # noqa: E402
from whet.train.log import _board  # noqa: E402
from whet.train.machine import Machine  # noqa: E402
from whet.train.optim import Optimizer  # noqa: E402
from whet.train.probe import Probed  # noqa: E402
from whet.train.run import StageTraining  # noqa: E402

LONGEST_S = 120
NOBODY = 65534


class Telling(Reporter):
    """Tells the report file of every step and statement."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def tell(self, what: str, value: object = "") -> None:
        os.write(self.file, f"{json.dumps([time.monotonic(), what, value])}\n".encode())

    def say(self, text: str) -> None:
        self.tell("said", text)

    def show_notice(self, text: str) -> None:
        self.tell("notice", text)

    def event(self, kind: str, **fields: Any) -> None:
        what = "validated" if "validation_loss" in fields else "step" if kind == "train" else kind
        self.tell(what, fields.get("step"))


class Cradle:
    """The warm things, and what children do with them."""

    def __init__(self, recipe: str, prepared: str, work: str) -> None:
        self.recipe = load_recipe(recipe, ["stages.0.evaluate_every=2"]).recipe
        self.prepared = store.open_artefact(Path(prepared), "prepared")
        self.plan = plan_room(self.recipe, Path(work), self.prepared, Reporter())
        self.machine = Machine(self.recipe, self.plan)
        self.machine.__dict__["peak_flops"] = 1e9  # measuring takes longer than the training
        stage = self.training(Path(work), Reporter())
        self.decoder = self.machine.model(None, stage.tokenizer)
        self.optimizer = Optimizer(self.decoder, stage.stage)
        for _, weight in self.optimizer.parameters:
            weight.grad = torch.ones_like(weight)
        self.optimizer.step(1e-3)
        self._warm_up(Path(work))

    def _warm_up(self, work: Path) -> None:
        """What is imported or built at first use, so that children need not; no backward pass among it."""
        import torch._dynamo

        training = self.training(work, Reporter())
        (work / "model").mkdir()
        training._save_weights(self.decoder, work / "model")
        _board(work / "board", 0).close()
        with torch.no_grad():
            data = training._data()["validation"]
            self.decoder.nll_sum(data.in_order(100)[0])

    def training(self, folder: Path, reporter: Reporter, *, steps: int = 6, **changes: Any) -> StageTraining:
        stage = self.recipe.stages[0].model_copy(update={**changes, "steps": steps})
        planned = {**self.plan["stages"][0], "steps": steps}
        return StageTraining(self.recipe, stage, planned, folder, self.prepared, None, self.machine, reporter)

    def train(self, teller: Telling, folder: str, **changes: Any) -> None:
        """The stage as `whet train` does it."""
        self._tell_saves(teller)
        training = self.training(Path(folder), teller, **changes)
        training.finished_before() or training.train()

    @staticmethod
    def _tell_saves(teller: Telling) -> None:
        def told(name: str) -> None:
            real: Callable[..., Any] = getattr(state, name)

            def wrapped(folder: Path, decoder: Any, *rest: Any) -> Any:
                step = next(item.step for item in rest if isinstance(item, state.Progress))
                teller.tell(f"{name} begins", step)
                done = real(folder, decoder, *rest)
                teller.tell(f"{name} ends", step)
                return done

            setattr(state, name, wrapped)

        told("save")
        told("save_best")

    def save(self, teller: Telling, folder: str, what: str, step: int) -> None:
        """One save of `what`; the weights depend on the step."""
        with torch.no_grad():
            for _, weight in self.optimizer.parameters:
                weight.add_(step)
        training = self.training(Path(folder), teller)
        progress = state.Progress(step=step, tokens=100, seconds=1.0)
        if what == "checkpoint":
            state.save(training.folder / "checkpoints", self.decoder, self.optimizer, progress, training.key)
            state.prune(training.folder / "checkpoints", 1)
        elif what == "best":
            state.save_best(training.folder, self.decoder, progress, training.key)
        elif what == "model":
            training._finish(self.decoder, progress, Probed(1, 1, 1, None), 0)
        else:
            store.write_sealed(training.folder / "settings.json", {"step": step})

    def prepare(self, teller: Telling, folder: str) -> None:
        """The prepare room, from nothing."""
        prepare_room(self.recipe, Path(folder), teller, force=True)

    def child(self, job: str, report: str, **ask: Any) -> int:
        """Run one job; its exit code."""
        signal.alarm(LONGEST_S)
        teller = Telling(report)
        if (limit := ask.pop("file_bytes", None)) is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if ask.pop("as_nobody", False):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        fault = ask.pop("fault", None)
        shim = ctypes.CDLL(None)
        calls = ctypes.create_string_buffer(100_000)
        if fault:
            shim.faults_record(calls, ctypes.c_size_t(len(calls) - 1))
            shim.faults_arm(
                fault["below"].encode(), ctypes.c_long(fault["at"]), fault["error"], fault["mode"]
            )
        try:
            getattr(self, job)(teller, **ask)
            code = 0
        except WhetError as error:
            teller.tell("error", [type(error).__name__, str(error)])
            code = error.exit_code
        except KeyboardInterrupt:
            code = 130
        except BaseException:  # noqa: BLE001
            teller.tell("traceback", traceback.format_exc())
            code = 70
        teller.tell("calls", calls.value.decode())
        return code

    def serve(self) -> None:
        """Answer until the input ends."""
        print(json.dumps({"ready": os.getpid()}), flush=True)
        for line in sys.stdin:
            ask = json.loads(line)
            if "wait" in ask:
                _, status = os.waitpid(ask["wait"], 0)
                print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)
                continue
            process = os.fork()
            if not process:
                os._exit(self.child(**ask))
            print(json.dumps({"process": process}), flush=True)


if __name__ == "__main__":
    Cradle(*sys.argv[1:]).serve()
