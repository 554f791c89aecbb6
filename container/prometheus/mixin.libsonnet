// For those who collect mixins: alerts, recorded series and dashboards as jsonnet has them.
{
  prometheusAlerts+:: std.parseYaml(importstr 'alerts.yaml'),
  prometheusRules+:: std.parseYaml(importstr 'recorded.yaml'),
  grafanaDashboards+:: {
    'telemetry-agent-fleet.json': import '../grafana/dashboards/fleet.json',
    'telemetry-agent.json': import '../grafana/dashboards/agent.json',
  },
}
