"""podrun costs: what work costs, before it runs and after, and what costs money for nothing."""

import click

from podinsight.cli import costs_check, costs_quote, costs_report


@click.group()
def costs() -> None:
    """Know what work costs, has cost, and costs for nothing.

    \b
    podrun costs quote MANIFEST    what it will cost, and when it will be done
    podrun costs report            what was spent, by day, stage, service, feed, episode, run or device
    podrun costs report --by item --over 3
                                   episodes that cost more than $3
    podrun costs check             what runs for nothing, and how near the levels are
    """


for command in (costs_quote.quote, costs_report.report, costs_check.check_costs):
    costs.add_command(command)
