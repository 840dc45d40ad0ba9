// What a dashboard is to Grafana: its own types, each panel with the options of its kind, and with the words that JSON has for
// their enumerations.
import type {
  AnnotationQuery,
  Dashboard as Own,
  DataQuery,
  FieldConfig,
  GraphFieldConfig,
  Panel as OwnPanel,
  RowPanel,
} from "@grafana/schema";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as Table } from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type { Options as Timeseries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Words<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Words<Item>[]
      : { [Key in keyof T]: Words<T[Key]> };

// The data source's own, which the package does not have.
type Query = DataQuery & {
  datasource: { type: "prometheus"; uid: "${datasource}" };
  expr: string;
  legendFormat: string;
  instant?: boolean;
  range?: boolean;
  format?: "time_series" | "table";
};

type Of<Kind extends string, Options, Custom> = Omit<OwnPanel, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Kind;
  options: Options;
  fieldConfig: { defaults: Omit<FieldConfig, "custom"> & { custom?: Custom }; overrides: [] };
  targets: Query[];
};

type Panel =
  | RowPanel
  | Of<"stat", Partial<Stat>, never>
  | Of<"table", Partial<Table>, never>
  | Of<"timeseries", Partial<Timeseries>, GraphFieldConfig>;

// What the data source adds.
type Annotation = Omit<AnnotationQuery, "target"> & {
  target?: Pick<Query, "refId" | "expr"> & { interval: string };
  titleFormat?: string;
  textFormat?: string;
};

export type Dashboard = Words<
  Omit<Own, "annotations" | "panels"> & { annotations: { list: Annotation[] }; panels: Panel[] }
>;
