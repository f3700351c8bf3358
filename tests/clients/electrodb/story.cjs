// ElectroDB: entities with composite keys in one table, a collection, conditions, batches, pages.
// Everything lives in the table's own key, so there are no secondary indexes.

"use strict";

const assert = require("node:assert/strict");
const {
  CreateTableCommand,
  DeleteTableCommand,
  DynamoDBClient,
  waitUntilTableExists,
} = require("@aws-sdk/client-dynamodb");
const { Entity, Service } = require("electrodb");
const { tell } = require("../story.cjs");

const client = new DynamoDBClient({
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
  region: "local",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const table = "electrodb-projects";

const Task = new Entity(
  {
    model: { entity: "task", version: "1", service: "projects" },
    attributes: {
      team: { type: "string", required: true },
      project: { type: "string", required: true },
      task: { type: "string", required: true },
      title: { type: "string", required: true },
      state: { type: ["open", "done"], default: "open" },
      points: { type: "number", default: 0 },
      labels: { type: "set", items: "string" },
      log: { type: "list", items: { type: "map", properties: { what: { type: "string" } } } },
      createdAt: { type: "number", readOnly: true, default: () => Date.now() },
      updatedAt: { type: "number", watch: "*", set: () => Date.now() },
    },
    indexes: {
      primary: {
        collection: "team",
        pk: { field: "pk", composite: ["team"] },
        sk: { field: "sk", composite: ["project", "task"] },
      },
    },
  },
  { client, table },
);

const Member = new Entity(
  {
    model: { entity: "member", version: "1", service: "projects" },
    attributes: {
      team: { type: "string", required: true },
      name: { type: "string", required: true },
      since: { type: "number", required: true },
    },
    indexes: {
      primary: {
        collection: "team",
        pk: { field: "pk", composite: ["team"] },
        sk: { field: "sk", composite: ["name"] },
      },
    },
  },
  { client, table },
);

const projects = new Service({ task: Task, member: Member }, { client, table });
const key = { team: "core", project: "raft", task: "t01" };
const strong = { consistent: true };

/** Hold an ElectroDB error to DynamoDB's code, which is in the error that it wraps. */
function hasCause(code) {
  return (error) => {
    assert.equal(error.constructor.name, "ElectroError");
    assert.equal(error.cause.name, code);
    return true;
  };
}

tell({
  "creates the table": async () => {
    const keys = [
      ["pk", "HASH"],
      ["sk", "RANGE"],
    ];
    await client.send(
      new CreateTableCommand({
        TableName: table,
        KeySchema: keys.map(([AttributeName, KeyType]) => ({ AttributeName, KeyType })),
        AttributeDefinitions: keys.map(([AttributeName]) => ({ AttributeName, AttributeType: "S" })),
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await waitUntilTableExists({ client, maxWaitTime: 60 }, { TableName: table });
  },

  "creates an entity once": async () => {
    const task = { ...key, title: "elect", labels: ["a", "b"], log: [{ what: "made" }] };
    const { data } = await Task.create(task).go();
    assert.equal(data.state, "open");
    await assert.rejects(Task.create(task).go(), hasCause("ConditionalCheckFailedException"));
  },

  "gets it back, and null for one that is not there": async () => {
    const { data } = await Task.get(key).go(strong);
    assert.equal(data.title, "elect");
    assert.deepEqual(data.labels.sort(), ["a", "b"]);
    assert.equal((await Task.get({ ...key, task: "t99" }).go(strong)).data, null);
  },

  "updates, patches only what exists, upserts": async () => {
    const { data } = await Task.update(key)
      .set({ title: "elect a leader" })
      .add({ points: 3, labels: ["c"] })
      .append({ log: [{ what: "renamed" }] })
      .go({ response: "all_new" });
    assert.equal(data.points, 3);
    assert.deepEqual(data.labels.sort(), ["a", "b", "c"]);
    assert.deepEqual(data.log, [{ what: "made" }, { what: "renamed" }]);
    const changed = await Task.update(key)
      .data((task, operation) => operation.set(task.log[1].what, "retitled"))
      .go({ response: "updated_new" });
    assert.deepEqual(changed.data.log, [{ what: "retitled" }]);
    const missing = Task.patch({ ...key, task: "t99" }).set({ points: 1 });
    await assert.rejects(missing.go(), hasCause("ConditionalCheckFailedException"));
    await Task.upsert({ ...key, task: "t02", title: "commit" }).go();
    await Task.upsert({ ...key, task: "t02", title: "commit", points: 8 }).go();
    assert.equal((await Task.get({ ...key, task: "t02" }).go(strong)).data.points, 8);
  },

  "holds conditions of its where clause": async () => {
    const finish = (points) =>
      Task.patch(key)
        .set({ state: "done" })
        .where(({ points: p, state }, { eq, lt }) => `${eq(state, "open")} AND ${lt(p, points)}`)
        .go();
    await assert.rejects(finish(2), hasCause("ConditionalCheckFailedException"));
    await finish(5);
    assert.equal((await Task.get(key).go(strong)).data.state, "done");
  },

  "counts to 30 with concurrent updates": async () => {
    const counted = { ...key, task: "t03" };
    await Task.create({ ...counted, title: "count" }).go();
    const add = () => Task.update(counted).add({ points: 1 }).go();
    await Promise.all(Array.from({ length: 30 }, add));
    assert.equal((await Task.get(counted).go(strong)).data.points, 30);
  },

  "writes and gets batches of more than a request's worth": async () => {
    const tasks = Array.from({ length: 60 }, (_, index) => ({
      team: "core",
      project: "storage",
      task: `t${String(index).padStart(2, "0")}`,
      title: `task ${index}`,
      points: index,
    }));
    const put = await Task.put(tasks).go({ concurrent: 2 });
    assert.deepEqual(put.unprocessed, []);
    const got = await Task.get(tasks).go(strong);
    assert.deepEqual(got.unprocessed, []);
    assert.equal(got.data.length, 60);
  },

  "queries a part of the composite key, in pages with a cursor": async () => {
    const names = [];
    let cursor = null;
    do {
      const page = await Task.query
        .primary({ team: "core", project: "storage" })
        .between({ task: "t10" }, { task: "t29" })
        .go({ ...strong, limit: 7, cursor });
      names.push(...page.data.map((task) => task.task));
      cursor = page.cursor;
    } while (cursor !== null);
    assert.deepEqual(
      names,
      Array.from({ length: 20 }, (_, index) => `t${index + 10}`),
    );
  },

  "queries backwards, with a filter, only some attributes": async () => {
    const { data } = await Task.query
      .primary({ team: "core", project: "storage" })
      .begins({ task: "t5" })
      .where(({ points }, { gte }) => gte(points, 55))
      .go({ ...strong, order: "desc", pages: "all", attributes: ["task"] });
    assert.deepEqual(
      data.map((task) => task.task),
      ["t59", "t58", "t57", "t56", "t55"],
    );
  },

  "collects the entities of a team in one query": async () => {
    await Member.create({ team: "core", name: "ada", since: 2024 }).go();
    await Member.create({ team: "edge", name: "bob", since: 2025 }).go();
    const { data } = await projects.collections.team({ team: "core" }).go({ ...strong, pages: "all" });
    assert.equal(data.task.length, 63);
    assert.deepEqual(data.member, [{ team: "core", name: "ada", since: 2024 }]);
  },

  "scans one entity among others": async () => {
    const { data } = await Member.scan.go({ ...strong, pages: "all" });
    assert.deepEqual(data.map((member) => member.name).sort(), ["ada", "bob"]);
  },

  "removes, and deletes what it made": async () => {
    const { data } = await Task.remove(key).go({ response: "all_old" });
    assert.equal(data.title, "elect a leader");
    await assert.rejects(Task.remove(key).where((_, { exists }) => exists(_.title)).go(), hasCause("ConditionalCheckFailedException"));
  },

  "is told that transactions are not there": async () => {
    const transaction = projects.transaction.write(({ member }) => [
      member.create({ team: "core", name: "eve", since: 2026 }).commit(),
    ]);
    await assert.rejects(transaction.go(), hasCause("UnknownOperationException"));
  },

  "deletes the table": async () => {
    await client.send(new DeleteTableCommand({ TableName: table }));
  },
});
