"""Pictures of graphs and of their runs: as SVG, DOT and Mermaid."""
