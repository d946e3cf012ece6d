"""Progress bars: what they show (``model``, pure), where (``terminal``, ``notebook``), and whose (``waits``, ``reports``)."""
