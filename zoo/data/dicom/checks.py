"""Is it a chest X-ray, of a view the network knows? By modality, body part and view, as far as the file says."""

from __future__ import annotations

import re

from zoo.core.records import BadImage
from zoo.data.dicom import terms
from zoo.data.dicom.header import (
    BODY_PART,
    CODE,
    MODALITY,
    PATIENT_POSITION,
    PRESENTATION_INTENT,
    REGIONS,
    SCHEME,
    VIEW,
    VIEW_CODES,
    Attributes,
)

# computed, digital and conventional radiography; DR is no defined term, but what some systems write for DX
IMAGES = ("CR", "DX", "RG", "DR")
SAYS_NOTHING = ("OT",)  # "other": what digitised images and converted images are given
_FRONTAL = ("PA", "AP", terms.FRONTAL)
_WORDS = re.compile(r"[A-Z]+")


def check(header: Attributes, views: frozenset[str] | None, force: bool) -> list[str]:
    """Check a header; returns notes of what it does not say.

    Args:
        header: of the image.
        views: those the network saw ("PA", "AP", "LATERAL"); None: not checked.
        force: note what would be refused, and go on.

    Raises:
        BadImage: it is not a chest X-ray, or of a view of another kind; names attribute and value.
    """
    refusals, notes = [], []
    for refusal, note in (_modality(header), _body_part(header), _view(header, views)):
        refusals += [refusal] if refusal else []
        notes += [note] if note else []
    if refusals and not force:
        raise BadImage(refusals[0])
    if header.text(PRESENTATION_INTENT).upper() == "FOR PROCESSING":
        notes.append("raw values of the detector: (0008,0068) PresentationIntentType is FOR PROCESSING")
    return [*(f"taken although {refusal}" for refusal in refusals), *notes]


def _modality(header: Attributes) -> tuple[str, str]:
    modality = header.text(MODALITY).upper()
    if modality in IMAGES:
        return "", ""
    if not modality or modality in SAYS_NOTHING:
        return "", "modality not given"
    if modality in terms.MODALITIES:
        return f"not a chest X-ray: (0008,0060) Modality is {modality}", ""
    return "", "modality not known: (0008,0060) Modality is no defined term"


def _body_part(header: Attributes) -> tuple[str, str]:
    """By body part, or else by the code of the region."""
    given = header.text(BODY_PART).upper()
    words = _WORDS.findall(given)
    joined = "".join(words)
    if joined in terms.CHEST or terms.CHEST.intersection(words):
        return "", ""
    if joined in terms.BODY_PARTS:
        return f"not a chest X-ray: (0018,0015) BodyPartExamined is {joined}", ""
    regions = [terms.REGIONS[code] for code in _codes(header, REGIONS) if code in terms.REGIONS]
    if terms.CHEST.intersection(regions):
        return "", ""
    if regions:
        return f"not a chest X-ray: (0008,2218) AnatomicRegionSequence is {regions[0]}", ""
    if given:
        return "", "body part not known: (0018,0015) BodyPartExamined is no defined term"
    return "", "body part not given"


def _view(header: Attributes, views: frozenset[str] | None) -> tuple[str, str]:
    """A frontal image passes wherever a frontal view was seen: a network that saw PA only gets a note with AP."""
    if views is None:
        return "", ""
    view, attribute = find_view(header)
    if view is None:
        return "", "view not given"
    seen = sorted(views)
    if view in views or (view == terms.FRONTAL and views.intersection(_FRONTAL)):
        return "", ""
    if view in _FRONTAL and views.intersection(_FRONTAL):
        return "", f"{attribute}, the network saw {', '.join(seen)} only"
    return f"not a view that the network saw ({', '.join(seen) or 'none is known'}): {attribute}", ""


def find_view(header: Attributes) -> tuple[str | None, str]:
    """The view of an image, None where nothing says it, and the attribute that does with its value, in words.

    View Position, else the code of the view, else Patient Position, where converted collections put it.
    """
    given = header.text(VIEW).upper()
    if given in terms.VIEWS:
        return terms.VIEWS[given], f"(0018,5101) ViewPosition is {given}"
    for code in _codes(header, VIEW_CODES):
        if code in terms.VIEW_CODES:
            view, meaning = terms.VIEW_CODES[code]
            return view, f"(0054,0220) ViewCodeSequence is {meaning}"
    position = header.text(PATIENT_POSITION).upper()
    if position in terms.VIEWS:
        return terms.VIEWS[position], f"(0018,5100) PatientPosition is {position}"
    return None, ""


def _codes(header: Attributes, sequence: int) -> list[str]:
    return [item.text(CODE) for item in header.items(sequence) if item.text(SCHEME) in terms.SCHEMES]
