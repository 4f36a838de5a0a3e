"""The periodic jobs: each module here is a job of the same name, with a function `run(context)`."""
