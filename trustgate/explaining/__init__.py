"""Why a request went as it did, and how one would go: `run.py` asks the life cycle itself, with ports that change
nothing; `traces.py` remembers requests that were real; `report.py` says both in the same words."""
