"""Settings of the whole suite."""

import os

from hypothesis import settings

# Processes that tests start meet the installed package too, not the sources they start beside.
os.environ["PYTHONSAFEPATH"] = "1"

# A time is never an assertion: on a busy machine an example may take as long as it likes.
settings.register_profile("fasthash", deadline=None)
settings.load_profile("fasthash")
