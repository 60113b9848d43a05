"""The import step: watch, claim, recognise, read, validate, reconcile, apply, archive, receipt."""
