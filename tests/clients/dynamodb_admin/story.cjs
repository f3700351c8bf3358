// dynamodb-admin: its server, and a person in front of headless Chromium who uses every page of it.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const readline = require("node:readline");
const {
  CreateTableCommand,
  DynamoDBClient,
  waitUntilTableExists,
} = require("@aws-sdk/client-dynamodb");
const { chromium } = require("playwright-core");
const { eventually, tell } = require("../story.cjs");

const HOST = "127.0.0.1";
const START_MS_MAX = 15_000;
const PAGE_MS_MAX = 30_000;
const table = "admin-songs";

let browser, page, url;

/** Start dynamodb-admin on a port that the system chooses, and return its address. */
async function startServer() {
  const server = spawn(
    process.execPath,
    [
      require.resolve("dynamodb-admin/dist/dynamodb-admin.js"),
      ...["--host", HOST, "--port", "0"],
      ...["--dynamo-endpoint", process.env.AWS_ENDPOINT_URL_DYNAMODB],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  process.once("exit", () => server.kill());
  process.once("SIGTERM", () => process.exit(1));
  const signal = AbortSignal.timeout(START_MS_MAX);
  for await (const line of readline.createInterface({ input: server.stdout, signal })) {
    const found = line.match(/listening on (http:\S+)/);
    if (found) {
      server.stdout.resume();
      return found[1];
    }
  }
  throw new Error(`dynamodb-admin did not listen within ${START_MS_MAX} ms`);
}

/** Fail if the page shows an error, as dynamodb-admin does in a box above its content. */
async function seesNoError() {
  assert.equal((await page.locator("#error-wrapper").allInnerTexts()).join("").trim(), "");
}

/** Put a document into the page's editor. */
async function write(item) {
  await page.locator(".ace_editor").waitFor();
  await page.evaluate((text) => ace.edit("documentTextarea").setValue(text), JSON.stringify(item));
}

/** Return the rows of the item list as texts, once there are so many; dynamodb-admin's reads are eventual. */
async function rows(count) {
  let found;
  await eventually(async () => {
    await page.locator(".table-container:visible, .no-results:visible").first().waitFor();
    await seesNoError();
    found = await page.locator("#items-container tr").allInnerTexts();
    if (found.length === count) {
      return true;
    }
    await page.reload();
    return false;
  });
  return found;
}

tell({
  "starts, and shows the list of tables": async () => {
    url = await startServer();
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
        ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
      ],
    });
    page = await browser.newPage();
    page.setDefaultTimeout(PAGE_MS_MAX);
    page.on("dialog", (dialog) => dialog.accept());
    await page.goto(url);
    await page.getByText("Create table").waitFor();
    await seesNoError();
  },

  "is refused a table, as by DynamoDB: its form sends capacity units as strings": async () => {
    await page.getByText("Create table").click();
    await page.fill("#TableName", table);
    await page.fill("#HashAttributeName", "artist");
    await page.click("#saveButton");
    const error = await page.locator("#error-wrapper .alert").innerText();
    assert.match(error, /^STRING_VALUE cannot be converted to/);
  },

  "lists a table that the SDK made": async () => {
    const client = new DynamoDBClient({
      endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
      region: "local",
      credentials: { accessKeyId: "any", secretAccessKey: "any" },
    });
    await client.send(
      new CreateTableCommand({
        TableName: table,
        KeySchema: [
          { AttributeName: "artist", KeyType: "HASH" },
          { AttributeName: "year", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "artist", AttributeType: "S" },
          { AttributeName: "year", AttributeType: "N" },
        ],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await waitUntilTableExists({ client, maxWaitTime: 60 }, { TableName: table });
    await page.goto(url);
    await page.locator(`#table-list [data-table-name=${table}]`).waitFor();
    await seesNoError();
  },

  "adds items": async () => {
    for (const year of [1959, 1965, 1972]) {
      await page.goto(`${url}/tables/${table}`);
      await page.getByText("Create item").click();
      await write({ artist: "Nina Simone", year, title: `album of ${year}`, live: year === 1972 });
      // It reads what it wrote, eventually consistent.
      const saved = page.waitForResponse((response) => response.request().method() === "PUT");
      await page.click("#saveButton");
      assert.equal((await saved).status(), 200);
      await page.waitForURL("**/items/*");
    }
  },

  "lists them": async () => {
    await page.goto(`${url}/tables/${table}`);
    await rows(3);
  },

  "edits one": async () => {
    await page.goto(`${url}/tables/${table}/items/Nina%20Simone,1965`);
    await write({ artist: "Nina Simone", year: 1965, title: "Pastel Blues", tracks: [1, { a: null }] });
    await page.click("#saveButton");
    await page.locator("#saveButton.btn-success").waitFor();
    await seesNoError();
    await eventually(async () => {
      await page.reload();
      const text = await page.evaluate(() => ace.edit("documentTextarea").getValue());
      return JSON.parse(text).title === "Pastel Blues";
    });
  },

  "queries a range of the sort key": async () => {
    await page.goto(`${url}/tables/${table}`);
    await rows(3);
    await page.selectOption("[name=operationType]", "query");
    const [, artist, year] = await page.locator("#filters-table tr").all();
    await artist.locator(".filter-row-value").fill("Nina Simone");
    await year.locator(".filter-row-type").selectOption("N");
    await year.locator(".filter-row-operator").selectOption(">=");
    await year.locator(".filter-row-value").fill("1965");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/operationType=query/);
    const [first] = await rows(2);
    assert.match(first, /Pastel Blues/);
  },

  "scans with a filter": async () => {
    await page.goto(`${url}/tables/${table}`);
    await rows(3);
    const filter = page.locator("#filters-table tr").first();
    await filter.locator(".filter-row-key").fill("title");
    await filter.locator(".filter-row-operator").selectOption("begins_with");
    await filter.locator(".filter-row-value").fill("album of 19");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/operationType=scan/);
    await rows(2);
  },

  "gets one by its key": async () => {
    await page.goto(`${url}/tables/${table}/get`);
    await page.fill("[name=hash]", "Nina Simone");
    await page.fill("[name=range]", "1972");
    await page.getByRole("button", { name: "Get" }).click();
    await page.getByText("album of 1972").waitFor();
    await seesNoError();
  },

  "deletes it": async () => {
    await page.getByRole("button", { name: "Delete" }).click();
    await page.waitForURL(`${url}/tables/${table}`);
    await rows(2);
  },

  "shows what DescribeTable says": async () => {
    await page.goto(`${url}/tables/${table}/meta`);
    await page.getByText("PAY_PER_REQUEST").waitFor();
  },

  "purges the table": async () => {
    await page.goto(url);
    const row = page.locator(`#table-list [data-table-name=${table}]`);
    await Promise.all([page.waitForEvent("load"), row.getByText("Purge").click()]);
    await seesNoError();
    await page.goto(`${url}/tables/${table}`);
    await rows(0);
  },

  "deletes the table": async () => {
    await page.goto(url);
    const row = page.locator(`#table-list [data-table-name=${table}]`);
    await row.getByText("Delete").click();
    await row.waitFor({ state: "detached" });
    await seesNoError();
    await browser.close();
  },
});
