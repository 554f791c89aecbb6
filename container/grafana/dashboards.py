"""The Grafana dashboards as code; container/render.py writes them as JSON.

Every panel has a title, a description and a unit; every rate looks over `$__rate_interval`; every query names the
job and the instances that the variables select, so that a dashboard works for one agent and for a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

SELECTED = 'job="telemetry-agent",instance=~"$instance"'
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")


class Graph(NamedTuple):
    """One panel: what it shows, in which unit, and its queries as (expression, legend)."""

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    width: int = 8


def rate(name: str) -> str:
    """The speed of a counter of the selected agents."""
    return f"rate({name}{{{SELECTED}}}[$__rate_interval])"


def own(name: str) -> str:
    """A metric of the selected agents, with the agent's prefix."""
    return f"telemetry_agent_{name}{{{SELECTED}}}"


def quantile(share: float, name: str) -> str:
    """A quantile of a histogram over each agent."""
    return f"histogram_quantile({share}, sum by (instance, le) ({rate(f'telemetry_agent_{name}_bucket')}))"


BUSY = f'sum by (mode) (rate(system_cpu_seconds_total{{{SELECTED},mode!="idle"}}[$__rate_interval]))'
RATIO = (
    f"sum({rate('telemetry_agent_sealed_bytes_total')}) / sum({rate('telemetry_agent_segment_written_bytes_total')})"
)

TOTALS = (
    Graph("Agents", "Agents that answer.", "short", ((f"sum(up{{{SELECTED}}})", "up"),), 4),
    Graph("Streams", "Files that are managed.", "short", ((f"sum({own('streams')})", "streams"),), 4),
    Graph("Refused", "Files that match and are not managed.", "short", ((f"sum({own('refused_files')})", "files"),), 4),
    Graph("Lost, 24 h", "Bytes gone though no rule decided so.", "bytes",
          ((f"sum(increase({own('lost_bytes_total')}[24h]))", "lost"),), 4),
    Graph("Critical", "Directories above their critical size.", "short",
          ((f"sum({own('directory_critical')})", "directories"),), 4),
    Graph("Rejected reloads", "Agents whose newest configuration is wrong.", "short",
          ((f"count({own('config_last_reload_successful')} == 0) or vector(0)", "agents"),), 4),
)  # fmt: skip

FLEET = {
    "Work": (
        Graph("Written to live files", "What writers add, as the agents see it.", "Bps",
              ((f"sum by (instance) ({rate('telemetry_agent_appended_bytes_total')})", "{{instance}}"),)),
        Graph("Directories", "Disk space of live files, parts, segments, quarantine and state.", "bytes",
              ((own("directory_total_bytes"), "{{instance}}"),)),
        Graph("Free space", "What the file systems of the directories have left.", "bytes",
              ((own("filesystem_free_bytes"), "{{instance}}"),)),
    ),
    "Trouble": (
        Graph("Lost", "Bytes gone though no rule decided so, by cause.", "Bps",
              ((f"sum by (instance, reason) ({rate('telemetry_agent_lost_bytes_total')}) > 0",
                "{{instance}} {{reason}}"),)),
        Graph("Refused files", "Files that match and are not managed, by cause.", "short",
              ((f"{own('refused_files')} > 0", "{{instance}} {{reason}}"),)),
        Graph("Failing steps", "Steps of the agents' parts that failed.", "ops",
              ((f"sum by (instance, duty) ({rate('telemetry_agent_duty_failures_total')})",
                "{{instance}} {{duty}}"),)),
    ),
}  # fmt: skip

AGENT = {
    "Streams": (
        Graph("Streams by state", "Managed, refused, failing and gone.", "short",
              ((f"sum by (state) ({own('streams')})", "{{state}}"),)),
        Graph("Live bytes", "What is not sealed yet, and of single streams where web.stream_series is set.", "bytes",
              ((own("live_bytes"), "all"), (own("stream_live_bytes"), "{{stream}}"))),
        Graph("Written to live files", "What writers add.", "Bps",
              ((f"sum({rate('telemetry_agent_appended_bytes_total')})", "written"),)),
    ),
    "Sealing": (
        Graph("Seals", "Segments published, by what made them due.", "ops",
              ((f"sum by (reason) ({rate('telemetry_agent_seals_total')})", "{{reason}}"),)),
        Graph("Time to seal", "Copy, sync, verify and publish one segment.", "s",
              tuple((quantile(share, "seal_duration_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99))),
        Graph("Compression", "Bytes into segments, over bytes of segments.", "none",
              ((RATIO, "ratio"),)),
        Graph("Given back", "Disk space of live files given back after sealing, and what waits for it.", "bytes",
              ((f"sum(increase({own('released_bytes_total')}[$__rate_interval]))", "released"),
               (f"sum({own('pending_release_bytes')})", "pending"))),
        Graph("Failures", "Seals that failed; the data stays in the live file.", "ops",
              ((f"sum({rate('telemetry_agent_seal_failures_total')})", "failures"),)),
        Graph("Lost", "Bytes gone though no rule decided so, by cause.", "Bps",
              ((f"sum by (reason) ({rate('telemetry_agent_lost_bytes_total')})", "{{reason}}"),)),
    ),
    "Retention": (
        Graph("Disk space", "What the directory's bytes belong to.", "bytes",
              tuple((f"sum({own(f'{kind}_bytes')})", kind)
                    for kind in ("allocated", "part", "segment", "quarantine", "state"))),
        Graph("Deleted by rule", "Disk space of segments deleted by rule, by rule.", "Bps",
              ((f"sum by (reason) ({rate('telemetry_agent_retired_bytes_total')})", "{{reason}}"),)),
        Graph("Free space", "What the file system has left.", "bytes", ((own("filesystem_free_bytes"), "free"),)),
    ),
    "Delivery": (
        Graph("Behind", "How long the oldest undelivered record has waited.", "s",
              ((own("forward_lag_seconds"), "{{forward}}"),)),
        Graph("Backlog", "Bytes behind the cursors.", "bytes", ((own("forward_backlog_bytes"), "{{forward}}"),)),
        Graph("Sent", "Bodies that destinations took, as sent.", "Bps",
              ((rate("telemetry_agent_forward_sent_bytes_total"), "{{forward}}"),)),
        Graph("Breakers", "1 while the destination in use is left alone.", "short",
              ((f"max by (forward) (telemetry_agent_forward_breaker_state{{{SELECTED},state=~\"open|half-open\"}})",
                "{{forward}}"),)),
        Graph("Tries", "Exports by how they ended, and tries that failed for now.", "ops",
              ((f"sum by (outcome) ({rate('telemetry_agent_forward_exports_total')})", "{{outcome}}"),
               (f"sum by (error) ({rate('telemetry_agent_forward_retries_total')})", "again: {{error}}"))),
        Graph("Dead letters", "Records that were refused for good.", "ops",
              ((rate("telemetry_agent_forward_dead_lettered_records_total"), "{{forward}}"),)),
        Graph("Left out", "Spans, log records and data points that filter and sampling kept from leaving.", "ops",
              ((rate("telemetry_agent_forward_dropped_items_total"), "{{forward}} {{reason}}"),), 12),
        Graph("Refused in part", "Spans, log records and data points refused by partial successes.", "ops",
              ((rate("telemetry_agent_forward_rejected_items_total"), "{{forward}}"),), 12),
    ),
    "Health": (
        Graph("Checks", "0 unknown, 1 healthy, 2 warning, 3 unhealthy.", "short",
              ((own("check_status"), "{{check}}"),), 12),
        Graph("Overdue", "Streams that should have been rotated by now.", "short",
              ((own("overdue_streams"), "streams"),), 6),
        Graph("Longest file", "Of the length that a file can have there; disk space is given back all the same.",
              "percentunit", ((f"{own('longest_file_bytes')} / ({own('file_size_limit_bytes')} > 0)", "share"),), 6),
    ),
    "Agent": (
        Graph("Main loop", "How late it runs what is due.", "s",
              tuple((quantile(share, "event_loop_lag_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99))),
        Graph("Processor", "Processor time of the process.", "percentunit",
              ((rate("process_cpu_seconds_total"), "{{instance}}"),)),
        Graph("Memory", "Resident memory of the process.", "bytes",
              ((f"process_resident_memory_bytes{{{SELECTED}}}", "{{instance}}"),)),
        Graph("Time by duty", "Time spent in the steps of each part.", "percentunit",
              ((f"sum by (duty) ({rate('telemetry_agent_duty_step_seconds_total')})", "{{duty}}"),)),
        Graph("Log lines", "Lines logged, by level.", "ops",
              ((f"sum by (level) ({rate('telemetry_agent_log_messages_total')})", "{{level}}"),)),
        Graph("Requests", "HTTP requests answered.", "reqps",
              ((f"sum by (handler, code) ({rate('telemetry_agent_http_requests_total')})", "{{handler}} {{code}}"),)),
    ),
    "Machine": (
        Graph("Processors", "Time of all processors by mode.", "percentunit",
              ((BUSY, "{{mode}}"),)),
        Graph("Memory", "What is available to new programs, of what there is.", "bytes",
              ((f"system_memory_available_bytes{{{SELECTED}}}", "available"),
               (f"system_memory_size_bytes{{{SELECTED}}}", "size"))),
        Graph("File systems", "Share that is available.", "percentunit",
              ((f"system_disk_available_bytes{{{SELECTED}}} / system_disk_size_bytes{{{SELECTED}}}",
                "{{mountpoint}}"),)),
    ),
    "Container": (
        Graph("Memory", "Working set, and the limit where there is one.", "bytes",
              ((f"container_memory_working_set_bytes{{{SELECTED}}}", "working set"),
               (f"container_spec_memory_limit_bytes{{{SELECTED}}}", "limit"))),
        Graph("Processor", "Processor time of the container.", "percentunit",
              ((rate("container_cpu_usage_seconds_total"), "used"),)),
        Graph("Throttled", "Time that the processor limit took away.", "percentunit",
              ((rate("container_cpu_cfs_throttled_seconds_total"), "throttled"),)),
    ),
}  # fmt: skip


def rendered() -> dict[str, str]:
    """File name and JSON of each dashboard."""
    fleet = _dashboard("telemetry-agent: fleet", "telemetry-agent-fleet", "All agents at a glance.", many=True)
    fleet = _rows(_totals(fleet), FLEET)
    agent = _rows(_dashboard("telemetry-agent", "telemetry-agent", "One agent, from its files to its machine."), AGENT)
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {"fleet": encoder.encode(fleet.build()) + "\n", "agent": encoder.encode(agent.build()) + "\n"}


def _dashboard(title: str, uid: str, about: str, *, many: bool = False) -> dashboard.Dashboard:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    query = 'label_values(up{job="telemetry-agent"}, instance)'
    instance = dashboard.QueryVariable("instance").label("Agent").query(query).datasource(SOURCE)
    instance = instance.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(many).include_all(many)
    made = dashboard.Dashboard(title).uid(uid).description(about).tags(["telemetry-agent"]).readonly()
    made = made.refresh("30s").time("now-3h", "now").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    return made.with_variable(source).with_variable(instance.all_value(".*") if many else instance)


def _totals(made: dashboard.Dashboard) -> dashboard.Dashboard:
    for graph in TOTALS:
        panel = stat.Panel().title(graph.title).description(graph.about).unit(graph.unit).datasource(SOURCE)
        panel = panel.span(graph.width).height(4).graph_mode(kinds.BigValueGraphMode.NONE)
        for query in _queries(graph):
            panel = panel.with_target(query.instant())
        made = made.with_panel(panel)
    return made


def _rows(made: dashboard.Dashboard, rows: Mapping[str, tuple[Graph, ...]]) -> dashboard.Dashboard:
    for title, graphs in rows.items():
        made = made.with_row(dashboard.Row(title))
        for graph in graphs:
            panel = timeseries.Panel().title(graph.title).description(graph.about).unit(graph.unit).datasource(SOURCE)
            legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).show_legend(True)
            panel = panel.span(graph.width).height(8).min(0).fill_opacity(10).legend(legend)
            for query in _queries(graph):
                panel = panel.with_target(query)
            made = made.with_panel(panel)
    return made


def _queries(graph: Graph) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        for number, (expression, legend) in enumerate(graph.queries)
    ]
