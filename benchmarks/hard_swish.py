"""Training steps of MobileNetV3Small with zoo's gradient of hard swish, beside the same steps with the stock one.

    python benchmarks/hard_swish.py [ROUNDS]

Both on one batch of 32 made-up images of 224 pixels in memory, with fused batch normalisation, Adam, float32. The difference is
smaller than what a machine's other work does to two processes one after the other, so both networks stand in one process and
train in turns, STEPS steps each a round, in an order that changes. Written to benchmarks/results/hard_swish.csv: the median
step, in wall and in processor time, with the ratio (the stock one's to the lean one's) within a round, and the greatest resident
memory of a process that trains one of them alone.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from itertools import pairwise
from typing import Any

from common import Costs, machine, median, ratios, run, watched, write_csv

SIZE, BATCH, STEPS = 224, 32, 6
LEAN, STOCK = "lean", "stock"


class Contender:
    """A compiled network, its batch, and its gradient for as long as the contexts are open."""

    def __init__(self, gradient: str, contexts: contextlib.ExitStack) -> None:
        import keras
        import numpy as np
        import tensorflow as tf

        from zoo.core.registry import registry
        from zoo.core.tasks import Task
        from zoo.nn.fused_norm import fused_batch_norm
        from zoo.nn.hard_swish import memory_efficient_hard_swish

        model = registry().get("model", "mobilenetv3")
        self.network = model.build(Task("binary", ("Abnormal",)), SIZE, None, model.Options())
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.network.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
        contexts.enter_context(fused_batch_norm(self.network))
        if gradient == LEAN:
            contexts.enter_context(memory_efficient_hard_swish(self.network))
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (BATCH, SIZE, SIZE, 1)).astype(np.float32)
        options = tf.data.Options()
        options.autotune.enabled = False
        batch = (images, rng.integers(0, 2, (BATCH, 1)).astype(np.float32))
        self.data = tf.data.Dataset.from_tensors(batch).repeat().with_options(options)
        self.train()

    def train(self) -> Costs:
        """The median step of a few, the first left out."""
        import keras

        ends: list[tuple[float, float]] = []

        def note(batch: int, logs: Any = None) -> None:
            ends.append((time.perf_counter(), time.process_time()))

        clock = keras.callbacks.LambdaCallback(on_train_batch_end=note)
        self.network.fit(self.data, epochs=1, steps_per_epoch=STEPS + 1, verbose=0, callbacks=[clock])
        pauses = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ends)]
        return dict(
            zip(("step", "cpu"), (statistics.median(each) * 1e3 for each in zip(*pauses, strict=True)), strict=True)
        )


def in_turns(rounds: int) -> dict[str, list[Costs]]:
    with contextlib.ExitStack() as contexts:
        contenders = {gradient: Contender(gradient, contexts) for gradient in (LEAN, STOCK)}
        found: dict[str, list[Costs]] = {gradient: [] for gradient in contenders}
        for number in range(rounds):
            for gradient in (LEAN, STOCK) if number % 2 else (STOCK, LEAN):
                found[gradient].append(contenders[gradient].train())
    return found


def alone(gradient: str) -> Costs:
    with watched() as memory, contextlib.ExitStack() as contexts:
        Contender(gradient, contexts).train()
    return {"peak_mb": memory.peak}


def main() -> None:
    if sys.argv[1:2] == ["alone"]:
        print(json.dumps(alone(sys.argv[2])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    costs, rows = in_turns(rounds), []
    for gradient, found in costs.items():
        row = {"model": "mobilenetv3", "gradient": gradient}
        for kind, prefix in (("step", ""), ("cpu", "cpu_")):
            quotients = ratios((each[kind] for each in found), (each[kind] for each in costs[LEAN]), 3)
            row |= {f"{prefix}step_ms": median(found, kind)} | {
                f"{prefix}{key}": value for key, value in quotients.items()
            }
        memory = run([sys.executable, __file__, "alone", gradient])["peak_mb"]
        rows.append(
            {**row, "peak_mb": f"{memory:.0f}", "image_size": SIZE, "batch_size": BATCH, "rounds": rounds, **machine()}
        )
    write_csv("hard_swish", rows)


if __name__ == "__main__":
    main()
