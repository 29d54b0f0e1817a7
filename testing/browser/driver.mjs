// Drives one browser for the end-to-end tests: JSON lines in on stdin, JSON lines out on stdout.
//
//   node driver.mjs chromium|firefox PROFILE_DIRECTORY ORIGIN
//
// Requests are `{"id":1,"page":0,"do":"open","url":"…"}`, the same with `"do":"eval","js":"…"` (the body of an async
// function, whose value must be JSON), `"do":"click","on":"SELECTOR"` and `"do":"type","on":"SELECTOR","text":"…"`
// (real input, to what must be visible; a newline is the Enter key). A page that a request names is made when it is
// not there yet. Replies are `{"id":1,"value":…}` or `{"id":1,"error":"…"}`; the first line is
// `{"ready":"BROWSER VERSION"}`. The browser ends with stdin. What the pages log goes to stderr.
//
// It launches the browser that the system has, in the network namespace that it runs in itself, and talks to
// it over a pipe or over that namespace's loopback. ORIGIN is the plain-http origin that may use a camera.

import { createInterface } from "node:readline";

const [browserName, profile, origin] = process.argv.slice(2);
const launchers = { chromium: launchChromium, firefox: launchFirefox };

const { version, first, create, visible, close } = await launchers[browserName]();
const pages = [watched(first)];
reply({ ready: version });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  // Not awaited: a slow evaluation must not hold up the next request.
  perform(request).then(
    (value) => reply({ id: request.id, value: value ?? null }),
    (error) => reply({ id: request.id, error: String(error.message ?? error) }),
  );
}
await close();

async function perform(request) {
  // The promise is kept, not the page: two requests for a new one must not make two.
  const page = await (pages[request.page] ??= create().then(watched));
  switch (request.do) {
    case "open":
      await page.goto(request.url);
      return null;
    case "eval":
      return await page.evaluate(`(async () => { ${request.js} })()`);
    case "click":
      await page.bringToFront();
      await page.waitForSelector(request.on, visible);
      await page.click(request.on);
      return null;
    case "type":
      await page.bringToFront();
      await page.waitForSelector(request.on, visible);
      await page.type(request.on, request.text);
      return null;
    default:
      throw new Error(`unknown request: ${request.do}`);
  }
}

function watched(page) {
  page.on("console", (message) => console.error(`[page] ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => console.error(`[page] uncaught: ${error}`));
  return page;
}

function reply(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function launchChromium() {
  const { chromium } = await import("playwright-core");
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      `--unsafely-treat-insecure-origin-as-secure=${origin}`,
    ],
  });
  return {
    version: `Chromium ${context.browser()?.version() ?? ""}`.trim(),
    first: context.pages()[0] ?? (await context.newPage()),
    create: () => context.newPage(),
    visible: { state: "visible" },
    close: () => context.close(),
  };
}

async function launchFirefox() {
  const { default: puppeteer } = await import("puppeteer-core");
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    userDataDir: profile,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.devices.insecure.enabled": true,
      "media.getusermedia.insecure.enabled": true,
      "media.autoplay.default": 0,
      // Where nothing leads to the internet, Firefox finds its own address by the way to the page's server, which it
      // knows only of a page that has just come from there: with one from its cache, ICE fails without a single check.
      "browser.cache.disk.enable": false,
      "browser.cache.memory.enable": false,
      // Fetched codecs and portal probes would only add noise to a namespace that leads nowhere.
      "media.gmp-manager.updateEnabled": false,
      "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false,
    },
  });
  const [first] = await browser.pages();
  return {
    version: await browser.version(),
    first: first ?? (await browser.newPage()),
    create: () => browser.newPage(),
    visible: { visible: true },
    close: () => browser.close(),
  };
}
