"""Settings of the whole suite."""

from hypothesis import settings

# A time is never an assertion: on a busy machine an example may take as long as it likes.
settings.register_profile("fasthash", deadline=None)
settings.load_profile("fasthash")
