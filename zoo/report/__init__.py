"""Results as a person reads them: terminal tables, figures, the page of a run and its model card."""

from __future__ import annotations

RESEARCH_ONLY = "For research and teaching only: not a medical device, not for clinical use."
