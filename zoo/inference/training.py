"""Training a run that is ready for inference: the engine's training, with the out-of-distribution detector fitted at its end.

Everything that trains uses these functions, so that no run lacks its detector.
"""

from __future__ import annotations

from functools import partial

from zoo.engine import hosts
from zoo.engine import resume as engine_resume
from zoo.engine import train as engine_train
from zoo.engine.train import Outcome
from zoo.inference.ood_training import guard_trained

train = partial(engine_train.train, finish=guard_trained)
resume = partial(engine_resume.resume, finish=guard_trained)
train_together = partial(hosts.train_together, finish=guard_trained)
resume_together = partial(hosts.resume_together, finish=guard_trained)

__all__ = ["Outcome", "resume", "resume_together", "train", "train_together"]
