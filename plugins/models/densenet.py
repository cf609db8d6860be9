"""DenseNet (Huang et al. 2017); DenseNet121 is the network of CheXNet (Rajpurkar et al. 2017)."""

from __future__ import annotations

from zoo import NORMALISED, ApplicationModel, Model, ModelInfo, hookimpl


def densenet(depth: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"densenet{depth}",
        summary=f"DenseNet{depth}: {summary}",
        licence="Apache-2.0 (code), BSD-3-Clause (imagenet weights)",
        paper="Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993",
        parameters=parameters,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"DenseNet{depth}", info, NORMALISED)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        densenet(121, 7_038_529, "the usual choice for chest X-rays (CheXNet)"),
        densenet(169, 12_644_545, "deeper than DenseNet121"),
        densenet(201, 18_323_905, "the deepest of the three"),
    ]
