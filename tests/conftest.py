"""Settings of the whole suite."""

import os

from hypothesis import settings

# Processes that tests start meet the installed package too, not the sources they start beside.
os.environ["PYTHONSAFEPATH"] = "1"

# A time is never an assertion: on a busy machine an example may take as long as it likes.
settings.register_profile("fasthash", deadline=None)
# For builds with sanitizers, which are many times slower and look for other faults.
settings.register_profile("few", deadline=None, max_examples=20)
settings.load_profile("fasthash")
