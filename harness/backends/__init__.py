"""One folder a framework; only that folder imports it. ``harness.plugins`` tells what there is."""
