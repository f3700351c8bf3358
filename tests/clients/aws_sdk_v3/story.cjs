// The AWS SDK for JavaScript v3: the plain client for tables, the DocumentClient for items.

"use strict";

const assert = require("node:assert/strict");
const {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteTableCommand,
  DynamoDBClient,
  ResourceNotFoundException,
  paginateListTables,
  waitUntilTableExists,
  waitUntilTableNotExists,
} = require("@aws-sdk/client-dynamodb");
const {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  TransactWriteCommand,
  UpdateCommand,
  paginateQuery,
  paginateScan,
} = require("@aws-sdk/lib-dynamodb");
const { tell } = require("../story.cjs");

const client = new DynamoDBClient({
  endpoint: process.env.AWS_ENDPOINT_URL_DYNAMODB,
  region: "local",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const documents = DynamoDBDocumentClient.from(client, {
  marshallOptions: { removeUndefinedValues: true },
});
const TableName = "sdk-v3-orders";
const key = { customer: "ada", order: 1 };

async function getStrong(Key) {
  const { Item } = await documents.send(new GetCommand({ TableName, Key, ConsistentRead: true }));
  return Item;
}

/** Return the items of all pages of an asynchronous iterator of pages, and how many pages there were. */
async function collect(pages) {
  const items = [];
  let pageCount = 0;
  for await (const page of pages) {
    items.push(...page.Items);
    pageCount += 1;
  }
  return { items, pageCount };
}

tell({
  "creates a table and waits until it exists": async () => {
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [
          { AttributeName: "customer", KeyType: "HASH" },
          { AttributeName: "order", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "customer", AttributeType: "S" },
          { AttributeName: "order", AttributeType: "N" },
        ],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    const waited = await waitUntilTableExists({ client, maxWaitTime: 60 }, { TableName });
    assert.equal(waited.state, "SUCCESS");
  },

  "finds it with the paginator of ListTables": async () => {
    const names = [];
    for await (const page of paginateListTables({ client, pageSize: 1 }, {})) {
      names.push(...page.TableNames);
    }
    assert.ok(names.includes(TableName));
  },

  "puts a document of every type and gets it back": async () => {
    const Item = {
      ...key,
      text: "grüße ☃",
      amount: 12.5,
      open: true,
      nothing: null,
      left: undefined,
      raw: Uint8Array.from([0, 255]),
      tags: new Set(["new", "gift"]),
      sizes: new Set([1, 2.5]),
      lines: [{ sku: "a", count: 2 }, []],
      address: { city: "London", floor: 0 },
    };
    await documents.send(new PutCommand({ TableName, Item }));
    const { left: _, ...expected } = Item;
    assert.deepEqual(await getStrong(key), expected);
    assert.equal(await getStrong({ customer: "nobody", order: 0 }), undefined);
  },

  "updates with an expression and gets the new attributes": async () => {
    const { Attributes } = await documents.send(
      new UpdateCommand({
        TableName,
        Key: key,
        UpdateExpression:
          "SET #l[0].#c = :three, note = if_not_exists(note, :note) REMOVE nothing ADD amount :half DELETE tags :gift",
        ExpressionAttributeNames: { "#l": "lines", "#c": "count" },
        ExpressionAttributeValues: {
          ":three": 3,
          ":note": "hi",
          ":half": 0.5,
          ":gift": new Set(["gift"]),
        },
        ReturnValues: "UPDATED_NEW",
      }),
    );
    assert.deepEqual(Attributes, {
      lines: [{ count: 3 }],
      note: "hi",
      amount: 13,
      tags: new Set(["new"]),
    });
  },

  "is refused with ConditionalCheckFailedException, which shows the item": async () => {
    const create = new PutCommand({
      TableName,
      Item: key,
      ConditionExpression: "attribute_not_exists(customer)",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    });
    await assert.rejects(documents.send(create), (error) => {
      assert.ok(error instanceof ConditionalCheckFailedException);
      assert.equal(error.message, "The conditional request failed");
      assert.deepEqual(error.Item.amount, { N: "13" });
      return true;
    });
  },

  "counts to 50 with concurrent updates": async () => {
    const add = () =>
      documents.send(
        new UpdateCommand({
          TableName,
          Key: { customer: "counter", order: 0 },
          UpdateExpression: "ADD hits :one",
          ExpressionAttributeValues: { ":one": 1 },
          ReturnValues: "UPDATED_NEW",
        }),
      );
    const answers = await Promise.all(Array.from({ length: 50 }, add));
    const seen = answers.map((answer) => answer.Attributes.hits).sort((a, b) => a - b);
    assert.deepEqual(
      seen,
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
  },

  "writes and gets batches": async () => {
    const orders = Array.from({ length: 25 }, (_, order) => ({ customer: "bob", order }));
    const written = await documents.send(
      new BatchWriteCommand({
        RequestItems: { [TableName]: orders.map((Item) => ({ PutRequest: { Item } })) },
      }),
    );
    assert.deepEqual(written.UnprocessedItems, {});
    const got = await documents.send(
      new BatchGetCommand({ RequestItems: { [TableName]: { Keys: orders, ConsistentRead: true } } }),
    );
    assert.deepEqual(got.UnprocessedKeys, {});
    assert.equal(got.Responses[TableName].length, 25);
  },

  "pages through a query, in the order of its numeric sort key": async () => {
    const { items, pageCount } = await collect(
      paginateQuery(
        { client: documents, pageSize: 4 },
        {
          TableName,
          KeyConditionExpression: "customer = :c AND #o BETWEEN :low AND :high",
          ExpressionAttributeNames: { "#o": "order" },
          ExpressionAttributeValues: { ":c": "bob", ":low": 5, ":high": 15 },
          ScanIndexForward: false,
          ConsistentRead: true,
        },
      ),
    );
    assert.deepEqual(
      items.map((item) => item.order),
      [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5],
    );
    assert.equal(pageCount, 3);
  },

  "counts with a filter": async () => {
    const answer = await documents.send(
      new QueryCommand({
        TableName,
        KeyConditionExpression: "customer = :c",
        FilterExpression: "attribute_exists(amount) AND contains(tags, :tag)",
        ExpressionAttributeValues: { ":c": "ada", ":tag": "new" },
        Select: "COUNT",
        ConsistentRead: true,
      }),
    );
    assert.equal(answer.Count, 1);
  },

  "pages through a scan, whole and in segments": async () => {
    const whole = await collect(
      paginateScan({ client: documents, pageSize: 7 }, { TableName, ConsistentRead: true }),
    );
    assert.equal(whole.items.length, 27);
    let found = 0;
    for (const Segment of [0, 1, 2]) {
      const segment = { TableName, Segment, TotalSegments: 3, ConsistentRead: true };
      found += (await collect(paginateScan({ client: documents }, segment))).items.length;
    }
    assert.equal(found, 27);
  },

  "deletes, and is given what it deleted": async () => {
    const { Attributes } = await documents.send(
      new DeleteCommand({ TableName, Key: key, ReturnValues: "ALL_OLD" }),
    );
    assert.equal(Attributes.note, "hi");
    assert.equal(await getStrong(key), undefined);
  },

  "is told that transactions are not there": async () => {
    const transaction = new TransactWriteCommand({
      TransactItems: [{ Put: { TableName, Item: key } }],
    });
    await assert.rejects(documents.send(transaction), (error) => {
      assert.equal(error.name, "UnknownOperationException");
      assert.equal(error.$metadata.httpStatusCode, 400);
      assert.equal(error.$metadata.attempts, 1);
      return true;
    });
    assert.equal(await getStrong(key), undefined);
  },

  "deletes the table and waits until it is gone": async () => {
    await client.send(new DeleteTableCommand({ TableName }));
    await waitUntilTableNotExists({ client, maxWaitTime: 60 }, { TableName });
    await assert.rejects(
      documents.send(new GetCommand({ TableName, Key: key })),
      ResourceNotFoundException,
    );
  },
});
