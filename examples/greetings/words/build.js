// Makes a component of words.js.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize(await readFile("words.js", "utf8"), {
  sourceName: "words.js",
  witPath: "../wit",
  worldName: "words-component",
  // It asks the host for nothing.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
const folder = "../../../target/wasm32-wasip2/guest";
await mkdir(folder, { recursive: true });
await writeFile(`${folder}/greetings-words.wasm`, component);
