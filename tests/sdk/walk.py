"""Walks a simulated tenant with Microsoft's Graph SDK for Python, and complains about everything that the SDK does not understand:
`walk.py PROGRAM`, where PROGRAM is `tenantvault`. The SDK was written by others, from Microsoft's own description of Graph."""

import asyncio
import re
import sys
import tempfile

from kiota_serialization_json.json_parse_node import JsonParseNode
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.user import User
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

import agree
import outlook
import places
import teams
from tenant import Client, Tenant

# What must have been met, so that nothing passes because nothing was there.
MET = """
Organization SubscribedSku User LicenseDetails Group
MailFolder MailSearchFolder Message FileAttachment ItemAttachment MessageRule OutlookCategory MailboxSettings
CalendarGroup Calendar CalendarPermission Event ReferenceAttachment Contact ContactFolder TodoTaskList TodoTask TaskFileAttachment
ConversationThread Post
Drive DriveItem DriveItemVersion Permission Site List_ ColumnDefinition ContentType ListItem ListItemVersion SitePage
Store Set Term Relation
Team Channel TeamsTab TeamsAppInstallation TeamworkTag TeamworkTagMember AadUserConversationMember ChatMessage Chat
PlannerPlan PlannerPlanDetails PlannerBucket PlannerTask PlannerTaskDetails
""".split()


async def directory(client):
    """The organisation, its licences, users and groups."""
    graph, expect = client.graph, client.expect
    (organization,) = await client.pages(graph.organization)
    expect(organization.verified_domains and organization.display_name, "the organisation has neither name nor domains")
    skus = await client.pages(graph.subscribed_skus)
    expect(all(sku.sku_id and sku.prepaid_units.enabled is not None for sku in skus), "a licence without id or units")
    properties = ["id", "displayName", "userPrincipalName", "mail", "userType", "accountEnabled", "assignedPlans"]
    users = await client.pages(graph.users, select=properties, top=2)
    expect(len(users) > 6, f"{len(users)} users")
    expect(all(user.user_principal_name for user in users), "a user without name")
    for user in users:
        await client.get(graph.users.by_user_id(user.id))
        await client.pages(graph.users.by_user_id(user.id).license_details)
        await client.pages(graph.users.by_user_id(user.id).transitive_member_of.graph_directory_role)
    groups = await client.pages(graph.groups)
    for group in groups:
        one = graph.groups.by_group_id(group.id)
        await client.get(one)
        members, owners = await client.pages(one.members), await client.pages(one.owners)
        expect(all(hasattr(person, "user_principal_name") for person in members + owners), "members are no users")
    return users, groups


async def errors(client, tenant, users):
    """What is refused comes as the SDK's error, with Graph's code."""
    graph = client.graph
    nobody, somebody = "11111111-2222-3333-4444-555555555555", graph.users.by_user_id(users[0].id)
    refused = [
        (graph.users.by_user_id(nobody), 404, "Request_ResourceNotFound"),
        (somebody.messages.by_message_id("AAMkADnone"), 400, "ErrorInvalidIdMalformed"),
        (graph.groups.by_group_id(nobody), 404, "Request_ResourceNotFound"),
        (graph.sites.by_site_id("contoso.sharepoint.com,none,none"), 404, "itemNotFound"),
        (graph.teams.by_team_id(nobody), 404, "NotFound"),
        (graph.me, 400, "BadRequest"),
    ]
    for builder, status, code in refused:
        await refuses(client, builder, status, code)
    # The SDK waits and asks again where the service says so.
    tenant.control("faults", {"kind": {"type": "too_many_requests", "retry_after": 1.0}, "path": "/organization", "count": 1})
    await client.pages(graph.organization)
    tenant.control("faults", {"kind": {"type": "status", "status": 503}, "path": "/subscribedSkus", "count": 1})
    await client.pages(graph.subscribed_skus)


async def refuses(client, builder, status, code):
    try:
        await builder.get()
    except ODataError as error:
        told = error.error.code if error.error else None
        where = client.wire.last.request.url.path
        client.expect(error.response_status_code == status, f"{where}: {error.response_status_code}, not {status}")
        client.expect(told == code, f"{where}: {told}, not {code}")
        inner = error.error and error.error.inner_error
        client.expect(inner and inner.request_id and inner.date, f"{where}: an error without request id or date")
        client.complaints += [] if error.error else [f"{where}: an error without a body"]
        return
    client.complain(f"{client.wire.last.request.url.path}: was expected to be refused")


async def batch(client, users):
    """Several requests in one; one of them fails."""
    one, none = client.graph.users.by_user_id(users[0].id), client.graph.users.by_user_id("nobody@nowhere.example")
    content = BatchRequestContent()
    for name, builder in [("one", one), ("none", none), ("folders", one.mail_folders)]:
        content.add_request(name, BatchRequestItem(builder.to_get_request_information(), name))
    answer = await client.graph.batch.post(content)
    codes = answer.get_response_status_codes()
    client.expect(codes == {"one": 200, "none": 404, "folders": 200}, f"$batch: {codes}")
    # The SDK's own reading of a part takes bytes for its body, and Graph sends JSON.
    parts = {part["id"]: part["body"] for part in client.wire.last.json()["responses"]}
    user = JsonParseNode(parts["one"]).get_object_value(User)
    client.complaints += agree.disagreements(user, parts["one"], "$batch")
    client.expect(user.id == users[0].id, "$batch: another user came back")
    error = JsonParseNode(parts["none"]).get_object_value(ODataError)
    client.expect(error.error.code == "Request_ResourceNotFound", f"$batch: {error.error.code}")


async def walk(program, folder):
    with Tenant(program, folder, "--no-limits", "--users", "3", "--messages", "40", "--files", "40") as tenant:
        client = Client(tenant)
        users, groups = await directory(client)
        await outlook.walk(client, tenant, users, groups)
        await places.walk(client, tenant, users)
        await teams.walk(client, tenant, users, groups)
        await client.part(batch(client, users))
        await client.part(errors(client, tenant, users))
        stats = tenant.control("stats", method="GET")
        client.expect(stats.get("token_leaks", 1) == 0, "the token was sent to a download address")
    for name in MET:
        client.expect(name in client.compared, f"No {name.rstrip('_')} was met")
    return client


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: walk.py PROGRAM")
    with tempfile.TemporaryDirectory() as folder:
        client = asyncio.run(walk(sys.argv[1], folder))
    alike = {}
    for text in client.complaints:
        alike.setdefault(re.sub(r"^/.*?(?=:[A-Z ])|\[\d+\]|'[^']*'", "…", text), []).append(text)
    for texts in alike.values():
        print(f"{len(texts)} x {texts[0]}")
    met = sum(client.compared.values())
    print(f"The Graph SDK read {met} objects of {len(client.compared)} types, and complained {len(client.complaints)} times")
    raise SystemExit(1 if client.complaints else 0)


if __name__ == "__main__":
    main()
