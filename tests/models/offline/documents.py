"""Document of about two pages, as a person would write it."""

from __future__ import annotations

HARBOUR = """\
# Renewing the Tide Gauge at Northcliff Harbour

Report of the harbour office to the town council, 2025-03-14. Contact: office@northcliff.example

## Background

The tide gauge at Northcliff has recorded the height of the sea since 1931. It is one of the four oldest gauges on this coast, and its
record is used by the flood service, by two universities and by every skipper who enters the harbour at low water. The gauge hangs in a
stilling well that was cut into the north pier when the pier was built. A float follows the water in the well, and a pen used to draw the
curve on paper until an encoder replaced it in 1988.

Tides at Northcliff are large. The spring tide rises 6.2 metres on average, the neap tide only 2.9 metres. The harbour mouth dries
out at the lowest tides of the year, so a wrong reading of twenty centimetres can put a boat on the bar. In October 2023 a trawler did
ground there, because the gauge showed more water than there was. Nobody was hurt, but the boat blocked the harbour for nine hours.

## What is wrong with the gauge

The inquiry after the grounding found three faults. First, mud has filled the lower part of the stilling well, so that the float sits on
the bottom at low water and the gauge cannot see the last forty centimetres of the ebb. Second, the encoder loses its zero whenever the
power fails, and somebody has to set it again by hand. Third, the north pier itself is sinking by about three millimetres a year, and
the gauge sinks with it. The levels were last checked against the benchmark on the church in 2009.

Of the three faults the mud is the most dangerous and the cheapest to mend. A diver can clear the well in one day. The well will
fill again, however, because the dredging of the inner basin in 2016 changed the current along the pier.

## Options

The office looked at three options. The first is to repair the old gauge: clear the well, replace the encoder, and check the levels
every two years. It costs 18,000 pounds now and 4,000 pounds a year, mostly for the diver. The record would stay unbroken, but the mud
would stay a risk between two visits of the diver.

The second option is a radar gauge on the new lifeboat station. A radar gauge looks down on the water from above, has no well that could
fill, and needs almost no care. It costs 31,000 pounds to buy and install, and 1,200 pounds a year to run. The lifeboat station stands on
rock, so the sinking of the pier would no longer matter. The flood service has used radar gauges at eleven harbours for ten years and
reports less than one day of lost data a year.

The third option is to do both for a time: install the radar gauge, and keep the old gauge running beside it for two years. Only a
comparison over two years shows whether the two agree through storms and seasons, and without it the record since 1931 would break in
two. The comparison adds 9,000 pounds to the cost of the radar gauge. One of the universities has offered to pay half of that, because
its study of sea level rise depends on an unbroken record.

## Recommendation

The office recommends the third option. A radar gauge removes the danger at low water for good, and two years side by side save a
record that nobody can measure again. The cost to the town is 35,500 pounds over two years. The money can come from the harbour dues,
which have been higher than planned in each of the last three years.

Until the radar gauge works, the office will have the well cleared twice a year, and will print a warning in the tide tables that
readings below one metre must not be trusted. Skippers have been told. The council is asked to decide by the end of May, so that the
work can be done in the calm months.
"""
