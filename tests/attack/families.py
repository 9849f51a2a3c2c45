"""The families of cases, and how many of each are met."""

from tests.attack.data_files import archives, headers, images, probabilities, tables, volumes
from tests.attack.model_files import configurations, models, splits, trainings
from tests.attack.study_files import lines, studies

# name -> (cases, how many in the short form, how many in the long one)
FAMILIES = {
    "headers": (headers, 24, 200),
    "volumes": (volumes, 24, 100),
    "archives": (archives, 24, 70),
    "probabilities": (probabilities, 17, 34),
    "configurations": (configurations, 60, 200),
    "lines": (lines, 60, 100),
    "studies": (studies, 16, 120),
    "splits": (splits, 9, 24),
    "models": (models, 14, 80),
    "tables": (tables, 6, 40),
    "trainings": (trainings, 9, 60),
    "images": (images, 5, 40),
}
