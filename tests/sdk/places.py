"""Walks drives and sites: files, versions, permissions, lists, pages, the term store."""

import re

from msgraph.generated.models.o_data_errors.o_data_error import ODataError


async def walk(client, tenant, users):
    drives = 0
    for user in users:
        one = client.graph.users.by_user_id(user.id)
        try:
            own = await client.get(one.drive)
        except ODataError as error:
            told = (error.response_status_code, error.error.code)
            client.expect(told in [(404, "ResourceNotFound"), (403, "notAllowed")], f"no drive: {told}")
            continue
        await client.pages(one.drives)
        await client.part(drive(client, client.graph.drives.by_drive_id(own.id)))
        drives += 1
    client.expect(drives >= 3, f"{drives} drives")
    await client.part(days(client, tenant, client.graph.users.by_user_id(users[0].id)))
    await client.part(sites(client))


async def drive(client, there):
    whole = await client.get(there)
    client.expect(whole.drive_type and whole.quota, "a drive without type or quota")
    root = await client.get(there.root)
    client.expect(root.root is not None and root.folder is not None, "a root that is none")
    top = there.items.by_drive_item_id("root")
    items, _ = await client.delta(top.delta, 3)
    children = await client.pages(top.children)
    client.expect({c.id for c in children} <= {i.id for i in items}, "children that the delta does not tell")
    files = [item for item in items if item.file]
    for item in files[:12] + [item for item in files if item.shared][:3]:
        await file(client, there.items.by_drive_item_id(item.id))


async def file(client, item):
    whole = await client.get(item)
    client.expect(whole.e_tag and whole.c_tag and whole.parent_reference.drive_id and whole.size is not None, "a file without marks")
    if whole.malware is None:
        content = await client.bytes(item.content)
        client.expect(len(content) == whole.size, f"{whole.name}: {len(content)} bytes, not {whole.size}")
    for permission in await client.pages(item.permissions):
        client.expect(permission.roles, "a permission without roles")
    versions = await client.pages(item.versions)
    client.expect(versions and versions[0].last_modified_date_time, "a file without versions")
    for version in versions[1:2]:
        await client.bytes(item.versions.by_drive_item_version_id(version.id).content)


async def days(client, tenant, one):
    """A day goes by, and the delta tells what changed and what was deleted."""
    own = await client.get(one.drive)
    delta = client.graph.drives.by_drive_id(own.id).items.by_drive_item_id("root").delta
    _, link, _ = await client.round(delta)
    tenant.control("advance?days=3")
    news, _, _ = await client.round(delta.with_url(link))
    client.expect([item for item in news if item.deleted], "three days in which no file was deleted")
    client.expect([item for item in news if item.file], "three days in which no file changed")


async def sites(client):
    everything = await client.pages(client.graph.sites.get_all_sites)
    client.expect([site for site in everything if site.is_personal_site], "no personal site")
    opened = 0
    for site in everything:
        there = client.graph.sites.by_site_id(site.id)
        try:
            await client.get(there)
        except ODataError as error:
            client.expect(error.response_status_code in (403, 404, 423), f"a site: {error.response_status_code}")
            continue
        opened += 1
        await client.part(one_site(client, there))
        for below in await client.pages(there.sites):
            await client.part(one_site(client, client.graph.sites.by_site_id(below.id)))
    client.expect(opened > 3, f"{opened} sites opened")


async def one_site(client, there):
    await client.pages(there.drives)
    for column in await client.pages(there.columns):
        client.expect(column.name and column.column_group is not None, "a column without name or group")
    await client.pages(there.content_types)
    await client.pages(there.permissions)
    for page in await client.pages(there.pages):
        whole = await client.get(there.pages.by_base_site_page_id(page.id).graph_site_page, expand=["canvasLayout"])
        client.expect(whole.canvas_layout is not None and whole.title, "a page without layout or title")
    for told in await client.pages(there.lists):
        if told.list_.template != "documentLibrary":
            await client.part(one_list(client, there.lists.by_list_id(told.id)))
    await client.part(terms(client, there.term_store))


async def one_list(client, there):
    await client.get(there)
    columns = {column.name for column in await client.pages(there.columns)}
    await client.pages(there.content_types)
    items = await client.pages(there.items, expand=["fields"])
    if items:
        await client.delta(there.items.delta, 1)
    for item in items[:3]:
        fields = {name for name in item.fields.additional_data if "@" not in name}
        # Look-ups are told by their ids, in fields of their own; and some fields are of no column.
        plain = {re.sub("LookupId$", "", name) for name in fields}
        client.expect(plain & columns, f"no field of {sorted(fields)[:5]} is of a column")
        one = there.items.by_list_item_id(item.id)
        whole = await client.get(one)
        client.expect(whole.e_tag and whole.content_type.id and whole.created_by.user, "an item without marks")
        await client.pages(one.versions)


async def terms(client, store):
    client.expect((await client.get(store)).default_language_tag, "a term store without language")
    for group in await client.pages(store.groups):
        for told in await client.pages(store.groups.by_group_id(group.id).sets):
            there = store.sets.by_set_id(told.id)
            await client.pages(there.relations)
            await client.pages(there.terms)
            for term in await client.pages(there.children):
                client.expect(term.labels, "a term without labels")
                await client.pages(there.terms.by_term_id(term.id).children)
