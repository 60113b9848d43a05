"""Enrollments as the largest files that districts send: seven for each student, made-up and always the same."""

import numpy as np
import numpy.typing as npt
import polars as pl


def enrollments(number: npt.NDArray[np.int64], chance: np.random.Generator) -> pl.DataFrame:
    """Rows of these numbers, from 0 on; `chance` decides which section each is in."""
    student, place = number // 7 + 300_000_000, number % 7
    section = place * 20_000 + chance.integers(0, 20_000, len(number))
    return pl.DataFrame(
        {
            "Student ID": pl.Series(student).cast(pl.String),
            "School ID#": pl.Series(student % 200).cast(pl.String).str.zfill(3),
            "Section#": "SEC" + pl.Series(section).cast(pl.String),
            "Period": pl.Series(place + 1).cast(pl.String),
            "Course Name": "Course Number " + pl.Series(section % 300).cast(pl.String),
            "Instructor": "Mr. Teacher" + pl.Series(section % 5000).cast(pl.String),
        }
    )
