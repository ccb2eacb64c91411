"""The sample shop: a luxury house whose truth is known."""

from pipelines.sample.pictures import render_contact_sheet
from pipelines.sample.write import write_sample

__all__ = ["render_contact_sheet", "write_sample"]
