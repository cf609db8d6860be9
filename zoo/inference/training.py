"""Training a run that is ready for inference: the engine's training, with the out-of-distribution detector fitted at its end.

Everything that trains uses these functions, so that no run lacks its detector.
"""

from __future__ import annotations

from functools import partial

from zoo.engine import hosts
from zoo.engine import resume as engine_resume
from zoo.engine import train as engine_train
from zoo.engine.train import Outcome
from zoo.inference.ood_training import fit_after_training

train = partial(engine_train.train, finish=fit_after_training)
resume = partial(engine_resume.resume, finish=fit_after_training)
train_together = partial(hosts.train_together, finish=fit_after_training)
resume_together = partial(hosts.resume_together, finish=fit_after_training)

__all__ = ["Outcome", "resume", "resume_together", "train", "train_together"]
