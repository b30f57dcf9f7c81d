"""Walks teams, channels, chats and plans."""

import re

from msgraph.generated.models.o_data_errors.o_data_error import ODataError


async def walk(client, tenant, users, groups):
    teams = 0
    for group in groups:
        await client.part(plans(client, group))
        if "Team" not in (group.resource_provisioning_options or []) and "Team" not in group.additional_data.get(
            "resourceProvisioningOptions", []
        ):
            continue
        there = client.graph.teams.by_team_id(group.id)
        try:
            await client.get(there)
        except ODataError as error:
            client.expect(error.response_status_code == 404, f"a team: {error.response_status_code}")
            continue
        teams += 1
        await client.part(team(client, there))
    client.expect(teams, "no team was met")
    await client.part(chats(client, users))


async def team(client, there):
    await client.pages(there.members)
    await client.pages(there.installed_apps, expand=["teamsAppDefinition"])
    for tag in await client.pages(there.tags):
        await client.pages(there.tags.by_teamwork_tag_id(tag.id).members)
    await client.pages(there.all_channels)
    for told in await client.pages(there.channels):
        client.expect(told.membership_type, "a channel of no kind")
        await client.part(channel(client, there.channels.by_channel_id(told.id)))


async def channel(client, there):
    await client.pages(there.members)
    await client.pages(there.tabs, expand=["teamsApp"])
    try:
        await client.get(there.files_folder)
    except ODataError as error:
        client.expect(error.response_status_code == 404, f"the folder of a channel: {error.response_status_code}")
    await client.pages(there.messages, expand=["replies"])
    messages, _ = await client.delta(there.messages.delta, 0)
    for message in messages[:8]:
        one = there.messages.by_chat_message_id(message.id)
        whole = await client.get(one)
        client.expect(whole.message_type and whole.created_date_time, "a message without type or date")
        await pictures(client, one, whole)
        for reply in await client.pages(one.replies):
            client.expect(reply.reply_to_id == message.id, "a reply to another message")
            await pictures(client, one.replies.by_chat_message_id1(reply.id), reply)


async def pictures(client, one, message):
    """What is hosted is named in the message's text only."""
    for name in re.findall(r"hostedContents/([^/]+)/\$value", message.body.content or ""):
        there = one.hosted_contents.by_chat_message_hosted_content_id(name)
        client.expect(await client.bytes(there.content), "an empty picture")


async def chats(client, users):
    kinds, messages = set(), 0
    for user in users:
        one = client.graph.users.by_user_id(user.id)
        try:
            found = await client.pages(one.chats)
        except ODataError as error:
            client.expect(error.response_status_code in (403, 404), f"chats: {error.response_status_code}")
            continue
        for chat in found:
            kinds.add(chat.chat_type and chat.chat_type.value)
            there = client.graph.chats.by_chat_id(chat.id)
            await client.get(there)
            await client.pages(there.members)
            told = await client.pages(there.messages)
            messages += len(told)
            for message in told[:2]:
                await client.get(there.messages.by_chat_message_id(message.id))
                await pictures(client, there.messages.by_chat_message_id(message.id), message)
        if found:
            await client.pages(one.chats.get_all_messages)
    client.expect(kinds >= {"oneOnOne", "group"}, f"chats of the kinds {kinds} only")
    client.expect(messages, "no chat has a message")


async def plans(client, group):
    graph = client.graph
    for plan in await client.pages(graph.groups.by_group_id(group.id).planner.plans):
        there = graph.planner.plans.by_planner_plan_id(plan.id)
        await client.get(there.details)
        await client.pages(there.buckets)
        for task in await client.pages(there.tasks):
            await client.get(graph.planner.tasks.by_planner_task_id(task.id).details)
