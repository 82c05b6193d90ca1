"""One folder a framework; only that folder imports it. ``registry`` tells what there is."""
