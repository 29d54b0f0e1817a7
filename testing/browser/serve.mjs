// Serves a directory over HTTP: where the test page comes from when no proxy is there to do it.
//
//   node serve.mjs DIRECTORY PORT

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";

const [directory, port] = process.argv.slice(2);
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

createServer(async (request, response) => {
  const name = basename(new URL(request.url, "http://localhost").pathname);
  try {
    const body = await readFile(join(directory, name));
    response.writeHead(200, { "Content-Type": types[extname(name)] ?? "application/octet-stream" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}).listen(Number(port));
