print("loading")  # noqa: T201
raise RuntimeError("no database")
