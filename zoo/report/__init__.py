"""Results as a person reads them: terminal tables, figures, the page of a run and its model card."""
