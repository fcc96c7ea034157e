-- The part of upstream's Prisma schema (2.3 line) that the stand-in fills, with upstream's names, types and lengths.
CREATE TYPE "InstanceConnectionStatus" AS ENUM ('open', 'close', 'connecting');
CREATE TYPE "DeviceMessage" AS ENUM ('ios', 'android', 'web', 'unknown', 'desktop');

CREATE TABLE "Instance" (
    "id" text PRIMARY KEY,
    "name" varchar(255) NOT NULL UNIQUE,
    "connectionStatus" "InstanceConnectionStatus" NOT NULL DEFAULT 'open',
    "ownerJid" varchar(100),
    "profileName" varchar(100),
    "profilePicUrl" varchar(500),
    "integration" varchar(100),
    "number" varchar(100),
    "businessId" varchar(100),
    "token" varchar(255),
    "clientName" varchar(100),
    "disconnectionReasonCode" integer,
    "disconnectionObject" jsonb,
    "disconnectionAt" timestamp(3),
    "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE "Session" (
    "id" text PRIMARY KEY,
    "sessionId" text NOT NULL UNIQUE REFERENCES "Instance" ("id") ON DELETE CASCADE,
    "creds" text,
    "createdAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE "Webhook" (
    "id" text PRIMARY KEY,
    "url" varchar(500) NOT NULL,
    "headers" jsonb,
    "enabled" boolean DEFAULT true,
    "events" jsonb,
    "webhookByEvents" boolean DEFAULT false,
    "webhookBase64" boolean DEFAULT false,
    "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    "instanceId" text NOT NULL UNIQUE REFERENCES "Instance" ("id") ON DELETE CASCADE
);

CREATE TABLE "Setting" (
    "id" text PRIMARY KEY,
    "rejectCall" boolean NOT NULL DEFAULT false,
    "msgCall" varchar(100),
    "groupsIgnore" boolean NOT NULL DEFAULT false,
    "alwaysOnline" boolean NOT NULL DEFAULT false,
    "readMessages" boolean NOT NULL DEFAULT false,
    "readStatus" boolean NOT NULL DEFAULT false,
    "syncFullHistory" boolean NOT NULL DEFAULT false,
    "wavoipToken" varchar(100),
    "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    "instanceId" text NOT NULL UNIQUE REFERENCES "Instance" ("id") ON DELETE CASCADE
);

-- No unique key on the WhatsApp id: the same message can stand here twice, as upstream.
CREATE TABLE "Message" (
    "id" text PRIMARY KEY,
    "key" jsonb NOT NULL,
    "pushName" varchar(100),
    "participant" varchar(100),
    "messageType" varchar(100) NOT NULL,
    "message" jsonb NOT NULL,
    "contextInfo" jsonb,
    "source" "DeviceMessage" NOT NULL,
    "messageTimestamp" integer NOT NULL,
    "instanceId" text NOT NULL REFERENCES "Instance" ("id") ON DELETE CASCADE,
    "webhookUrl" varchar(500),
    "status" varchar(30)
);
CREATE INDEX "Message_instanceId_idx" ON "Message" ("instanceId");

CREATE TABLE "MessageUpdate" (
    "id" text PRIMARY KEY,
    "keyId" varchar(100) NOT NULL,
    "remoteJid" varchar(100) NOT NULL,
    "fromMe" boolean NOT NULL,
    "participant" varchar(100),
    "pollUpdates" jsonb,
    "status" varchar(30) NOT NULL,
    "messageId" text NOT NULL REFERENCES "Message" ("id") ON DELETE CASCADE,
    "instanceId" text NOT NULL REFERENCES "Instance" ("id") ON DELETE CASCADE
);
CREATE INDEX "MessageUpdate_messageId_idx" ON "MessageUpdate" ("messageId");

CREATE TABLE "Contact" (
    "id" text PRIMARY KEY,
    "remoteJid" varchar(100) NOT NULL,
    "pushName" varchar(100),
    "profilePicUrl" varchar(500),
    "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "instanceId" text NOT NULL REFERENCES "Instance" ("id") ON DELETE CASCADE,
    UNIQUE ("remoteJid", "instanceId")
);

CREATE TABLE "Chat" (
    "id" text PRIMARY KEY,
    "remoteJid" varchar(100) NOT NULL,
    "name" varchar(100),
    "labels" jsonb,
    "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'utc'),
    "instanceId" text NOT NULL REFERENCES "Instance" ("id") ON DELETE CASCADE,
    "unreadMessages" integer NOT NULL DEFAULT 0
);
CREATE INDEX "Chat_instanceId_idx" ON "Chat" ("instanceId");

CREATE TABLE "IsOnWhatsapp" (
    "id" text PRIMARY KEY,
    "remoteJid" varchar(100) NOT NULL UNIQUE,
    "jidOptions" text NOT NULL,
    "lid" varchar(100),
    "createdAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    "updatedAt" timestamp(3) NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
