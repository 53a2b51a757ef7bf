"""Standard data sets into libraries by their official files, and the protocols that models are measured by. A leaf.
Imports: runs, evaluation, library and below.
"""

from seehear.datasets.base import Importer, ImportOptions
from seehear.datasets.run import IMPORTERS, ImportReport, import_dataset

__all__ = ["IMPORTERS", "ImportOptions", "ImportReport", "Importer", "import_dataset"]
