"""Whether an image is a chest X-ray, of a view that the network knows: by modality, body part and view."""

from __future__ import annotations

import re

from zoo.core.records import BadImage
from zoo.data.dicom import terms
from zoo.data.dicom.header import Header

# computed, digital and conventional radiography; DR is not defined, but some systems write it for DX
IMAGES = ("CR", "DX", "RG", "DR")
UNSPECIFIC = ("OT",)  # "other": given to digitised and converted images
_FRONTAL = ("PA", "AP", terms.FRONTAL)
_WORDS = re.compile(r"[A-Z]+")


def check(header: Header, views: frozenset[str] | None, force: bool) -> list[str]:
    """Check the header of an image.

    Args:
        header: of the image.
        views: the views to accept ("PA", "AP", "LATERAL"); None accepts any.
        force: note what would be refused, and go on.

    Returns:
        Notes of what the header does not say.

    Raises:
        BadImage: it is not a chest X-ray, or of another view; names attribute and value.
    """
    notes = _decided([_modality(header), _body_part(header), _view(header, views)], force)
    if header.text("PresentationIntentType") == "FOR PROCESSING":
        notes.append("raw values of the detector: (0008,0068) PresentationIntentType is FOR PROCESSING")
    return notes


def check_view(header: Header, views: frozenset[str] | None, force: bool) -> str:
    """As `check`, of the view alone: a note, "" for none."""
    return ", ".join(_decided([_view(header, views)], force))


def _decided(found: list[tuple[str, str]], force: bool) -> list[str]:
    """The notes of several checks, each of which gives a refusal and a note, "" for none."""
    refusals, notes = ([text for text in texts if text] for texts in zip(*found, strict=True))
    if refusals and not force:
        raise BadImage(refusals[0])
    return [*(f"taken although {refusal}" for refusal in refusals), *notes]


def _modality(header: Header) -> tuple[str, str]:
    modality = header.needed("Modality")
    if modality in IMAGES:
        return "", ""
    if not modality or modality in UNSPECIFIC:
        return "", "modality not given"
    if modality in terms.MODALITIES:
        return f"not a chest X-ray: (0008,0060) Modality is {modality}", ""
    return "", "modality not known: (0008,0060) Modality is no defined term"


def _body_part(header: Header) -> tuple[str, str]:
    """By body part, else by the code of the region."""
    given = header.needed("BodyPartExamined")
    words = _WORDS.findall(given)
    joined = "".join(words)
    if joined in terms.CHEST or terms.CHEST.intersection(words):
        return "", ""
    if joined in terms.BODY_PARTS:
        return f"not a chest X-ray: (0018,0015) BodyPartExamined is {joined}", ""
    regions = [terms.REGIONS[code] for code in _codes(header, "AnatomicRegionSequence") if code in terms.REGIONS]
    if terms.CHEST.intersection(regions):
        return "", ""
    if regions:
        return f"not a chest X-ray: (0008,2218) AnatomicRegionSequence is {regions[0]}", ""
    if given:
        return "", "body part not known: (0018,0015) BodyPartExamined is no defined term"
    return "", "body part not given"


def _view(header: Header, views: frozenset[str] | None) -> tuple[str, str]:
    """A frontal image is accepted if any frontal view was seen; AP for a network that saw only PA gets a note."""
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


def find_view(header: Header) -> tuple[str | None, str]:
    """The view of an image, None if unknown, and a phrase with the attribute that says so and its value.

    By View Position, else the code of the view, else Patient Position, where converted collections put it.
    """
    given = header.needed("ViewPosition")
    if given in terms.VIEWS:
        return terms.VIEWS[given], f"(0018,5101) ViewPosition is {given}"
    for code in _codes(header, "ViewCodeSequence"):
        if code in terms.VIEW_CODES:
            view, meaning = terms.VIEW_CODES[code]
            return view, f"(0054,0220) ViewCodeSequence is {meaning}"
    position = header.needed("PatientPosition")
    if position in terms.VIEWS:
        return terms.VIEWS[position], f"(0018,5100) PatientPosition is {position}"
    return None, ""


def _codes(header: Header, sequence: str) -> list[str]:
    return [
        item.needed("CodeValue")
        for item in header.items(sequence)
        if item.needed("CodingSchemeDesignator") in terms.SCHEMES
    ]
