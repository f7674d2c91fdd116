"""Pictures of runs: on the plan of their flow, or on the description that their records hold."""
