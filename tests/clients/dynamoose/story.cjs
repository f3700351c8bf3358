// dynamoose: a model that makes its own table, saves, updates, conditions, queries, scans, batches.

"use strict";

const assert = require("node:assert/strict");
const dynamoose = require("dynamoose");
const { eventually, tell } = require("../story.cjs");

dynamoose.aws.ddb.set(
  new dynamoose.aws.ddb.DynamoDB({
    endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
    region: "local",
    credentials: { accessKeyId: "any", secretAccessKey: "any" },
  }),
);

const Reading = dynamoose.model(
  "dynamoose-readings",
  new dynamoose.Schema(
    {
      sensor: { type: String, hashKey: true },
      minute: { type: Number, rangeKey: true },
      celsius: { type: Number, required: true, validate: (value) => value > -274 },
      valid: { type: Boolean, default: true },
      flags: { type: Set, schema: [String] },
      raw: Buffer,
      place: { type: Object, schema: { room: String, shelf: Number } },
      history: { type: Array, schema: [Number] },
    },
    { timestamps: true },
  ),
);
const table = new dynamoose.Table("dynamoose-readings", [Reading], {
  initialize: false,
  throughput: "ON_DEMAND",
  waitForActive: { check: { frequency: 100, timeout: 10_000 } },
});
const key = { sensor: "attic", minute: 0 };
const getStrong = (wanted) => Reading.get(wanted, { consistent: true });
const isConditionFailure = { name: "ConditionalCheckFailedException" };

tell({
  "makes the table of its schema and waits until it is active": async () => {
    await table.initialize();
    const { Table } = await dynamoose.aws.ddb().describeTable({ TableName: table.name });
    assert.equal(Table.TableStatus, "ACTIVE");
    assert.deepEqual(
      Table.KeySchema.map((element) => element.AttributeName),
      ["sensor", "minute"],
    );
  },

  "finds the table when it starts again": async () => {
    await table.initialize();
  },

  "creates once": async () => {
    const reading = {
      ...key,
      celsius: 20.5,
      flags: new Set(["new", "manual"]),
      raw: Buffer.from([0, 255]),
      place: { room: "attic", shelf: 2 },
      history: [19, 20],
    };
    await Reading.create(reading);
    await assert.rejects(Reading.create(reading), isConditionFailure);
  },

  "gets it back, and undefined for one that is not there": async () => {
    const reading = await getStrong(key);
    assert.equal(reading.celsius, 20.5);
    assert.equal(reading.valid, true);
    assert.deepEqual([...reading.flags].sort(), ["manual", "new"]);
    assert.deepEqual([...reading.raw], [0, 255]);
    assert.ok(reading.createdAt instanceof Date);
    assert.equal(await getStrong({ ...key, sensor: "nobody" }), undefined);
  },

  "changes and saves": async () => {
    const reading = await getStrong(key);
    reading.place.shelf = 3;
    await reading.save();
    assert.equal((await getStrong(key)).place.shelf, 3);
  },

  "updates with $SET, $ADD and $REMOVE": async () => {
    const updated = await Reading.update(key, {
      $SET: { celsius: 21 },
      $ADD: { history: 22, flags: ["warm"] },
      $REMOVE: ["raw"],
    });
    assert.equal(updated.celsius, 21);
    assert.deepEqual(updated.history, [19, 20, 22]);
    assert.deepEqual([...updated.flags].sort(), ["manual", "new", "warm"]);
    assert.equal(updated.raw, undefined);
  },

  "holds conditions": async () => {
    const warmer = (than) =>
      Reading.update(
        key,
        { celsius: 30 },
        { condition: new dynamoose.Condition().where("celsius").gt(than).and().where("raw").not().exists() },
      );
    await assert.rejects(warmer(25), isConditionFailure);
    await warmer(20);
    assert.equal((await getStrong(key)).celsius, 30);
  },

  "counts to 20 with concurrent updates": async () => {
    const counter = { sensor: "counter", minute: 0 };
    await Reading.create({ ...counter, celsius: 0 });
    const add = () => Reading.update(counter, { $ADD: { celsius: 1 } });
    await Promise.all(Array.from({ length: 20 }, add));
    assert.equal((await getStrong(counter)).celsius, 20);
  },

  "puts and gets batches": async () => {
    const readings = Array.from({ length: 25 }, (_, minute) => ({
      sensor: "cellar",
      minute,
      celsius: minute,
    }));
    const put = await Reading.batchPut(readings);
    assert.deepEqual(put.unprocessedItems, []);
    const keys = readings.map(({ sensor, minute }) => ({ sensor, minute }));
    await eventually(async () => (await Reading.batchGet(keys)).length === 25);
  },

  "queries a range, backwards, in pages": async () => {
    const query = () =>
      Reading.query("sensor").eq("cellar").where("minute").between(5, 14).sort("descending");
    const first = await query().limit(4).consistent().exec();
    const rest = await query().startAt(first.lastKey).consistent().exec();
    assert.deepEqual(
      [...first, ...rest].map((reading) => reading.celsius),
      [14, 13, 12, 11, 10, 9, 8, 7, 6, 5],
    );
    const { count } = await Reading.query({ sensor: "cellar" }).consistent().count().exec();
    assert.equal(count, 25);
  },

  "scans with a filter, all pages": async () => {
    const found = await Reading.scan("celsius").ge(20).limit(10).all().consistent().exec();
    assert.deepEqual(
      found.map((reading) => reading.celsius).sort((a, b) => a - b),
      [20, 20, 21, 22, 23, 24, 30],
    );
  },

  "deletes one and many": async () => {
    await Reading.delete(key);
    await Reading.batchDelete([
      { sensor: "cellar", minute: 0 },
      { sensor: "cellar", minute: 1 },
    ]);
    assert.equal((await Reading.scan().consistent().all().exec()).length, 24);
  },

  "is told that transactions are not there": async () => {
    await assert.rejects(
      dynamoose.transaction([Reading.transaction.create({ ...key, celsius: 1 })]),
      { name: "UnknownOperationException" },
    );
  },

  "deletes the table": async () => {
    await dynamoose.aws.ddb().deleteTable({ TableName: table.name });
  },
});
